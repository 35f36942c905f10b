package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
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

	Remove clientDeviceRemove `cmd:"" help:"Remove another device of yours, from your account and from all rooms."`
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

type clientDeviceRemove struct {
	Name   string `arg:"" help:"Name of the device, as mimid client device list shows it."`
	device `embed:""`
}

func (c *clientDeviceRemove) Help() string {
	return "For a device that is lost or given away. Your provider hears it no more, hands out none of its KeyPackages, and it is taken out of all rooms that this device is in: it receives nothing from there on. What it has received before it keeps. A room in which that cannot be done now is tried again whenever this device runs.\n\nExample:\n  mimid client device remove tablet"
}

func (c *clientDeviceRemove) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.RemoveDevice(ctx, c.Name)
		if err != nil {
			return err
		}
		type room struct {
			Room  string `json:"room"`
			Name  string `json:"name"`
			State string `json:"state"` // out, pending or refused
			Why   string `json:"why,omitempty"`
		}
		views, refused := []room{}, []error{}
		for _, x := range list {
			v := room{Room: x.Room.String(), Name: x.Name, State: "out"}
			switch {
			case errors.Is(x.Err, client.ErrRefused):
				v.State, v.Why = "refused", x.Err.Error()
				refused = append(refused, fmt.Errorf("%s: %w", cmp.Or(printable(x.Name, ""), x.Room.String()), x.Err))
			case x.Err != nil:
				v.State, v.Why = "pending", x.Err.Error()
			}
			views = append(views, v)
		}
		err = s.out.result(map[string]any{"removed": c.Name, "rooms": views}, func(w io.Writer) {
			fmt.Fprintf(w, "%s is no device of your account any more.\n", printable(c.Name, ""))
			for _, v := range views {
				switch v.State {
				case "out":
					fmt.Fprintf(w, "It is out of %s.\n", cmp.Or(printable(v.Name, ""), v.Room))
				case "pending":
					fmt.Fprintf(w, "It is not out of %s yet, and that is tried again whenever this device runs: %s\n", cmp.Or(printable(v.Name, ""), v.Room), v.Why)
				}
			}
		})
		return errors.Join(err, errors.Join(refused...))
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
