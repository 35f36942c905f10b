package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/evaluate"
)

type evaluatorCommand struct {
	Deal     dealCommand     `cmd:"" help:"Make the key of a network's evaluators, with a share for each."`
	Install  installCommand  `cmd:"" help:"Have this provider use a key set, and evaluate if it has a share."`
	Show     showSetCommand  `cmd:"" help:"Say what is in a key set."`
	Redeal   redealCommand   `cmd:"" help:"Deal this evaluator's share out to the next evaluators."`
	Assemble assembleCommand `cmd:"" help:"Make the next key set, and a share of it, of what was dealt."`
}

func (c *evaluatorCommand) Help() string {
	return "With evaluators, whoever looks a phone number or a handle up needs the help of some of them, who do not\n" +
		"learn what is looked up and count how often. Without, anybody can try all numbers alone, at 25 ms of\n" +
		"CPU each. One dealer makes the key and hands the shares out; 3 of 5 is usual, at different providers.\n" +
		"All providers of a network need the same key set. Users publish their identifiers anew after a\n" +
		"network has got its evaluators; a key that is only dealt on (redeal, assemble) changes nothing for them.\n\n" +
		"Example:\n  mimid evaluator deal --threshold 2 a.example b.example c.example --out dealt"
}

type dealCommand struct {
	Domains   []string `arg:"" name:"domain" help:"Providers that are to evaluate, each with a share."`
	Threshold int      `help:"How many of them are needed." default:"3"`
	Out       string   `help:"New directory for the files." required:"" type:"path"`
}

func (c *dealCommand) Help() string {
	return "Give the file with the key set to every provider, and each share to its provider only; then remove\n" +
		"the directory. Who has seen as many shares as are needed can look everybody up alone.\n\n" +
		"Example:\n  mimid evaluator deal a.example b.example c.example d.example e.example --out dealt"
}

func (c *dealCommand) Run(s *session) error {
	a, err := evaluate.Deal(c.Out, c.Threshold, c.Domains)
	if err != nil {
		return err
	}
	return showSet(s, a)
}

type installCommand struct {
	Set   string `arg:"" help:"File with the key set."`
	Share string `arg:"" optional:"" help:"File with this provider's share, if it is to evaluate."`
	dataFlag
}

func (c *installCommand) Help() string {
	return "Restart the node afterwards. What was there before is replaced.\n\n" +
		"Example:\n  mimid evaluator install evaluators.pem a.example.share.pem"
}

func (c *installCommand) Run(s *session) error {
	cfg, err := node.ReadConfig(c.Dir)
	if err != nil {
		return err
	}
	a, err := evaluate.Install(filepath.Join(c.Dir, "keys"), cfg.Domain, c.Set, c.Share)
	if err != nil {
		return err
	}
	if err := showSet(s, a); err != nil {
		return err
	}
	fmt.Fprintln(s.errw, "The node uses it when it starts next.")
	return nil
}

type showSetCommand struct {
	Set string `arg:"" help:"File with the key set."`
}

func (c *showSetCommand) Help() string {
	return "Two key sets with the same key give the same results, also if others evaluate.\n\nExample:\n  mimid evaluator show evaluators.pem"
}

func (c *showSetCommand) Run(s *session) error {
	a, err := evaluate.Show(c.Set)
	if err != nil {
		return err
	}
	return showSet(s, a)
}

type redealCommand struct {
	Domains   []string `arg:"" name:"domain" help:"Providers that are to evaluate next."`
	Threshold int      `help:"How many of them will be needed." default:"3"`
	Out       string   `help:"New directory for the files." required:"" type:"path"`
	dataFlag
}

func (c *redealCommand) Help() string {
	return "As many present evaluators as are needed have to do this, with the same providers and threshold. Give\n" +
		"the dealing to all next evaluators, and each piece to its provider only.\n\n" +
		"Example:\n  mimid evaluator redeal a.example b.example c.example d.example e.example f.example --out dealt"
}

func (c *redealCommand) Run(s *session) error {
	keys := filepath.Join(c.Dir, "keys")
	a, err := evaluate.Redeal(c.Out, filepath.Join(keys, evaluate.SetName), filepath.Join(keys, evaluate.ShareName), c.Threshold, c.Domains)
	if err != nil {
		return err
	}
	return showSet(s, a)
}

type assembleCommand struct {
	Files []string `arg:"" name:"file" help:"The dealings, and the pieces for this provider."`
	Set   string   `help:"File with the key set that was dealt on. Default: this provider's." type:"path"`
	Out   string   `help:"New directory for the files." required:"" type:"path"`
	dataFlag
}

func (c *assembleCommand) Help() string {
	return "All next evaluators must use the same dealings, and get the same key set: compare its id. Without\n" +
		"pieces only the key set is made. Then: mimid evaluator install.\n\n" +
		"Example:\n  mimid evaluator assemble from-*.dealing.pem from-*-for-f.example.piece.pem --out next"
}

func (c *assembleCommand) Run(s *session) error {
	cfg, err := node.ReadConfig(c.Dir)
	if err != nil {
		return err
	}
	if c.Set == "" {
		c.Set = filepath.Join(c.Dir, "keys", evaluate.SetName)
	}
	a, err := evaluate.Assemble(c.Out, cfg.Domain, c.Set, c.Files)
	if err != nil {
		return err
	}
	return showSet(s, a)
}

func showSet(s *session, a *evaluate.About) error {
	return s.out.result(a, func(w io.Writer) {
		fmt.Fprintf(w, "key set     %s\nkey         %s\ngeneration  %d\nevaluators  %d of %d: %s\n", a.ID, a.Key, a.Generation, a.Threshold, len(a.Evaluators),
			strings.Join(a.Evaluators, ", "))
		if a.Number > 0 {
			fmt.Fprintf(w, "share       number %d, %s\n", a.Number, a.Evaluators[a.Number-1])
		}
		for _, f := range a.Files {
			if f.Secret {
				fmt.Fprintf(w, "%s: secret, for %s only\n", f.Path, f.For)
			} else {
				fmt.Fprintf(w, "%s: for %s\n", f.Path, f.For)
			}
		}
	})
}
