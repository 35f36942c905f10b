package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

// The user's devices.

type clientDevices struct {
	Add  clientDeviceAdd  `cmd:"" help:"Show a code by which a device on another machine becomes yours."`
	List clientDeviceList `cmd:"" help:"List your devices."`
}

type clientDeviceAdd struct{ device }

func (c *clientDeviceAdd) Help() string {
	return "It shows a code and waits until the new device has used it, for ten minutes at most. There, type `mimid client register --code` and the code. Whoever sees the code before the new device uses it can become you: carry it as you would a key. Afterwards it is worth nothing. Your provider carries what the two devices say, and can neither read nor change it.\n\nExample:\n  mimid client device add"
}

func (c *clientDeviceAdd) Run(s *session) error {
	return c.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		begin, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		o, err := cl.OfferDevice(begin)
		if err != nil {
			return err
		}
		err = s.out.result(map[string]any{"code": o.Code(), "expires": o.Expires().UTC()}, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n", o.Code())
			fmt.Fprintf(s.errw, "On the new device, before %s:\n  mimid client register --code - --device NAME\nand paste the line above. Waiting for it ...\n", o.Expires().Local().Format(time.TimeOnly))
		})
		if err != nil {
			return err
		}
		name, err := o.Wait(ctx)
		if err != nil {
			return err
		}
		return s.out.result(map[string]string{"added": name}, func(w io.Writer) {
			fmt.Fprintf(w, "A device that calls itself %s is yours now, and comes into your rooms by itself. If it is not the one that you gave the code to, tell your operator at once: it can act as you.\n", printable(name, ""))
		})
	})
}

type clientDeviceList struct{ device }

func (c *clientDeviceList) Help() string { return "Example:\n  mimid client device list" }

func (c *clientDeviceList) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Devices(ctx)
		if err != nil {
			return err
		}
		type shown struct {
			Name  string    `json:"name"`
			Own   bool      `json:"this,omitempty"`
			Since time.Time `json:"since"`
		}
		views := []shown{}
		for _, d := range list {
			views = append(views, shown{d.Name, d.Own, d.Since.UTC()})
		}
		return s.out.result(map[string]any{"devices": views}, func(w io.Writer) {
			table(w, "DEVICE\tSINCE\t", func(w io.Writer) {
				for _, d := range list {
					own := ""
					if d.Own {
						own = "this one"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", printable(d.Name, ""), when(d.Since), own)
				}
			})
		})
	})
}

// secretArg is an argument that is a secret; - reads it from the input, so that nobody sees it
// among the running commands.
func secretArg(s *session, what, arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	line, err := bufio.NewReader(io.LimitReader(s.in, maxLine)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	return strings.TrimSpace(line), nil
}
