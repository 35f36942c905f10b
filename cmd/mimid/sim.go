package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimid/mimid/simulations"
	simreport "github.com/mimid/mimid/simulations/report"
	"github.com/mimid/mimid/simulations/scenarios"
	"github.com/mimid/mimid/simulations/virtual"
)

type simCommand struct {
	List   simListCommand   `cmd:"" help:"Name the simulations and what each answers."`
	Show   simShowCommand   `cmd:"" help:"Show a simulation's parameters and the scenario to begin with."`
	Run    simRunCommand    `cmd:"" help:"Run a scenario and keep what was measured."`
	Report simReportCommand `cmd:"" help:"Draw the plots and the page of results again."`
	Worker simWorkerCommand `cmd:"" hidden:"" help:"Make one run of the stack engine; run by mimid sim run."`
}

type simListCommand struct{}

func (simListCommand) Help() string {
	return `Each of these can be run by its name. Engine event: pure code and models on a queue of
events; a seed gives the same run on every machine. Engine stack: whole nodes in virtual
time; a seed gives the same statistics.

Example:
  mimid sim list`
}

// simulation is one as --json shows it.
type simulation struct {
	Name       string                  `json:"name"`
	Engine     string                  `json:"engine"`
	Question   string                  `json:"question"`
	Doc        string                  `json:"doc"`
	Parameters []simulations.Parameter `json:"parameters,omitempty"`
	Scenario   string                  `json:"scenario,omitempty"`
}

func (simListCommand) Run(s *session) error {
	var all []simulation
	for _, x := range scenarios.All() {
		all = append(all, simulation{Name: x.Name, Engine: x.Engine, Question: x.Question, Doc: x.Doc})
	}
	if s.out.json {
		for _, x := range all {
			if err := s.out.result(x, nil); err != nil {
				return err
			}
		}
		return nil
	}
	table(s.out.w, "NAME\tENGINE\tQUESTION", func(w io.Writer) {
		for _, x := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\n", x.Name, x.Engine, x.Question)
		}
	})
	return nil
}

type simShowCommand struct {
	Name string `arg:"" help:"A simulation of mimid sim list."`
}

func (*simShowCommand) Help() string {
	return `Prints what the simulation does, its parameters with their defaults, and the scenario that
is shipped. To change it: save the scenario as a file, or use --set.

Example:
  mimid sim show fanout`
}

func (c *simShowCommand) Run(s *session) error {
	x, ok := scenarios.Find(c.Name)
	if !ok {
		return noSimulation(c.Name)
	}
	file, err := scenarios.File(c.Name)
	if err != nil {
		return err
	}
	return s.out.result(simulation{x.Name, x.Engine, x.Question, x.Doc, x.Parameters(), string(file)}, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\n%s\n\n", x.Question, wrapped(x.Doc, 90))
		table(w, "PARAMETER\tTYPE\tDEFAULT\tMEANING", func(w io.Writer) {
			for _, p := range x.Parameters() {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Key, p.Type, p.Default, p.Doc)
			}
		})
		fmt.Fprintf(w, "\nThe scenario that `mimid sim run %s` runs:\n\n%s", x.Name, indented(string(file)))
	})
}

func noSimulation(name string) error {
	var names []string
	for _, x := range scenarios.All() {
		names = append(names, x.Name)
	}
	return usageError(fmt.Sprintf("there is no simulation %q; there are %s", name, strings.Join(names, ", ")))
}

// wrapped breaks a paragraph into lines.
func wrapped(text string, width int) string {
	var b strings.Builder
	at := 0
	for _, w := range strings.Fields(text) {
		switch {
		case at == 0:
		case at+1+len(w) > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(w)
		at += len(w)
	}
	return b.String()
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}

type simRunCommand struct {
	Scenario string   `arg:"" help:"A scenario file, or the name of a simulation for the one that is shipped."`
	Seed     *uint64  `help:"Seed of the first run; the others have the next ones."`
	Runs     *int     `help:"Runs of each setting."`
	Set      []string `help:"Change a key of the file: nodes=100, links.model=uniform, sweep.nodes=[10,20], limits.wall=5m." sep:"none" placeholder:"KEY=VALUE"`
	Out      string   `help:"Directory for the results, which are replaced there. Default: sim-NAME in this directory." type:"path" placeholder:"DIR"`
}

func (*simRunCommand) Help() string {
	return `Runs every setting with every seed and writes results.csv, summary.json, scenario.toml,
report.html and the plots as SVG. Ctrl-C ends it early and keeps what there is. The exit
code is 1 if it ended early, if a promise of the protocol did not hold, or if a
shipped scenario gave something else than it is known to.

Example:
  mimid sim run fanout
  mimid sim run fanout --runs 20 --set nodes=500 --set links.loss=0.01 --out lossy
  mimid sim run mine.toml --seed 7`
}

// simRun is the end of a run as --json shows it.
type simRun struct {
	Out        string   `json:"out"`
	Report     string   `json:"report"`
	Runs       int      `json:"runs"`
	WallMS     int64    `json:"wall_ms"`
	Events     uint64   `json:"events,omitempty"`
	Incomplete string   `json:"incomplete,omitempty"`
	Violations []string `json:"violations,omitempty"`
	Golden     string   `json:"golden"`
	Deviations []string `json:"deviations,omitempty"`
}

func (c *simRunCommand) Run(s *session) error {
	file, named, shipped, err := c.read()
	if err != nil {
		return err
	}
	var over []simulations.Override
	for _, set := range c.Set {
		key, value, ok := strings.Cut(set, "=")
		if !ok || key == "" {
			return usageError(fmt.Sprintf("--set %s: write it as KEY=VALUE", set))
		}
		over = append(over, simulations.Override{Key: key, Value: value})
	}
	changed := len(over) > 0 || c.Seed != nil || c.Runs != nil
	if c.Seed != nil {
		over = append(over, simulations.Override{Key: "seed", Value: fmt.Sprint(*c.Seed)})
	}
	if c.Runs != nil {
		over = append(over, simulations.Override{Key: "runs", Value: fmt.Sprint(*c.Runs)})
	}
	sc, err := simulations.Parse(file, named, scenarios.All(), over...)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	sc.Worker = func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, "sim", "worker")
		cmd.Stderr = s.errw
		return cmd
	}
	if c.Out == "" {
		c.Out = "sim-" + sc.Simulation.Name
	}
	bar := newSimProgress(s)
	result := sc.Execute(s.ctx, bar.at)
	bar.end()
	summary := result.Summarize(version())
	summary.Golden = "not looked at: the scenario is not the shipped one"
	if shipped && !changed && result.Err == nil {
		golden, known, err := scenarios.Golden(sc.Simulation.Name)
		switch {
		case err != nil:
			return err
		case !known:
			summary.Golden = "nothing is known of this scenario"
		default:
			summary.Golden = "met"
			if summary.Deviations = golden.Compare(summary.Groups); len(summary.Deviations) > 0 {
				summary.Golden = "missed"
			}
		}
	}
	if err := result.Save(c.Out, summary); err != nil {
		return err
	}
	page, err := drawReport(c.Out, sc.Simulation)
	if err != nil {
		return err
	}
	return c.tell(s, result, summary, page)
}

// read finds the scenario: a file, else a shipped one, also where there is a directory of that name.
func (c *simRunCommand) read() (file []byte, named string, shipped bool, err error) {
	file, err = os.ReadFile(c.Scenario)
	if err == nil {
		return file, c.Scenario, false, nil
	}
	st, statErr := os.Stat(c.Scenario)
	if _, ok := scenarios.Find(c.Scenario); ok && (errors.Is(err, fs.ErrNotExist) || statErr == nil && st.IsDir()) {
		file, err = scenarios.File(c.Scenario)
		return file, c.Scenario, true, err
	}
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(c.Scenario, "./") {
		return nil, "", false, noSimulation(c.Scenario)
	}
	return nil, "", false, fmt.Errorf("reading the scenario: %w", err)
}

func (c *simRunCommand) tell(s *session, r *simulations.Result, sum simulations.Summary, page string) error {
	end := simRun{c.Out, page, len(sum.Runs), sum.WallMS, 0, sum.Incomplete, sum.Violations, sum.Golden, nil}
	for _, x := range sum.Runs {
		end.Events += x.Events
	}
	for _, d := range sum.Deviations {
		end.Deviations = append(end.Deviations, d.Why)
	}
	err := s.out.result(end, func(w io.Writer) {
		table(w, "METRIC\tOF\tUNIT\tMEDIAN\tINTERVAL\t95 %\tMOST", func(w io.Writer) {
			for _, g := range sum.Groups {
				of := make([]string, len(g.Labels))
				for i, l := range g.Labels {
					of[i] = l.Key + "=" + l.Value
				}
				interval := "-"
				if g.Seeds > 1 {
					interval = fmt.Sprintf("%.4g to %.4g", g.OfP50.Low, g.OfP50.High)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%.4g\t%s\t%.4g\t%.4g\n", g.Metric, strings.Join(of, " "), g.Unit, g.P50, interval, g.P95, g.Max)
			}
		})
		fmt.Fprintf(w, "\n%s in %s. See %s\n", plural(end.Runs, "run"), time.Duration(end.WallMS)*time.Millisecond, page)
		if end.Golden == "met" {
			fmt.Fprintln(w, "All figures are what this scenario is known to give.")
		}
		for _, d := range end.Deviations {
			fmt.Fprintln(w, "not as known:", d)
		}
		for _, v := range end.Violations {
			fmt.Fprintln(w, "broken:", v)
		}
	})
	switch {
	case err != nil:
		return err
	case errors.Is(r.Err, context.Canceled):
		return fmt.Errorf("interrupted after %s of %d; what there was is in %s", plural(len(sum.Runs), "run"), len(r.Scenario.Settings)*r.Scenario.Runs, c.Out)
	case r.Err != nil:
		return r.Err
	case len(end.Violations) > 0:
		return fmt.Errorf("%w: %s", simulations.ErrViolation, plural(len(end.Violations), "time"))
	case len(end.Deviations) > 0:
		return fmt.Errorf("%s not what the scenario is known to give", plural(len(end.Deviations), "figure"))
	}
	return nil
}

func drawReport(dir string, x simulations.Simulation) (page string, err error) {
	files, err := simreport.Write(dir, x)
	if err != nil {
		return "", fmt.Errorf("drawing the report: %w", err)
	}
	return files[len(files)-1], nil
}

type simWorkerCommand struct{}

func (simWorkerCommand) Help() string {
	return `Reads a request as JSON and writes replies as JSON, one per line; mimid sim run starts it.

Example:
  mimid sim worker <request.json`
}

func (simWorkerCommand) Run(s *session) error {
	return virtual.Serve(s.in, s.out.w, scenarios.All())
}

type simReportCommand struct {
	Dir string `arg:"" help:"A directory that mimid sim run wrote." type:"existingdir"`
}

func (*simReportCommand) Help() string {
	return `Reads results.csv and summary.json of a directory, and writes report.html and the plots
again, for instance after results.csv was edited.

Example:
  mimid sim report sim-fanout`
}

func (c *simReportCommand) Run(s *session) error {
	saved, err := simulations.Load(c.Dir)
	if err != nil {
		return fmt.Errorf("reading results: %w", err)
	}
	x, ok := scenarios.Find(saved.Summary.Simulation)
	if !ok {
		return noSimulation(saved.Summary.Simulation)
	}
	page, err := drawReport(c.Dir, x)
	if err != nil {
		return err
	}
	return s.out.result(map[string]string{"report": page}, func(w io.Writer) { fmt.Fprintln(w, filepath.Clean(page)) })
}

// simProgress shows how far runs are: a bar on a terminal, a line now and then elsewhere.
type simProgress struct {
	w    io.Writer
	last time.Time
	bar  bool
	any  bool
}

func newSimProgress(s *session) *simProgress {
	if s.out.json {
		return &simProgress{}
	}
	p := &simProgress{w: s.errw, last: time.Now()}
	if f, ok := s.errw.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.bar = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

func (p *simProgress) at(x simulations.Progress) {
	every := 5 * time.Second
	if p.bar {
		every = 100 * time.Millisecond
	}
	if p.w == nil || time.Since(p.last) < every {
		return
	}
	p.last, p.any = time.Now(), true
	text := fmt.Sprintf("%3.0f %%  %d of %d runs, %s virtual, %s wall", 100*x.Share, x.Done, x.Runs, x.Virtual.Round(10*time.Millisecond), x.Wall.Round(100*time.Millisecond))
	if !p.bar {
		fmt.Fprintln(p.w, strings.TrimSpace(text))
		return
	}
	const width = 30
	full := int(x.Share * width)
	fmt.Fprintf(p.w, "\r[%s%s] %s\x1b[K", strings.Repeat("=", full), strings.Repeat(" ", width-full), text)
}

func (p *simProgress) end() {
	if p.bar && p.any {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
