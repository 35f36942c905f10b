package node_test

import (
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/mimid/mimid/node"
)

// TestMemoryRefuses: a node in memory opens no socket: what would need one is refused, and so is
// a half of what it stands on. No key of mimid.toml makes a node live in memory.
func TestMemoryRefuses(t *testing.T) {
	k, err := node.Init(t.TempDir()+"/p", node.DefaultConfig("atlanta.example"))
	if err != nil {
		t.Fatal(err)
	}
	for why, edit := range map[string]func(*node.Config, *node.Memory){
		"https.listen": func(c *node.Config, _ *node.Memory) {
			c.HTTPS.Listen, c.HTTPS.Certificate, c.HTTPS.Key = "127.0.0.1:0", "c", "k"
		},
		"metrics.listen": func(c *node.Config, _ *node.Memory) { c.Metrics.Listen = "127.0.0.1:0" },
		"trust.dns":      func(c *node.Config, _ *node.Memory) { c.Trust.DNS = "system" },
		"overlay.mdns":   func(c *node.Config, _ *node.Memory) { c.Overlay.MDNS = true },
		"keys":           func(_ *node.Config, m *node.Memory) { m.Keys = nil },
		"transport":      func(_ *node.Config, m *node.Memory) { m.Transport = nil },
		"clients":        func(_ *node.Config, m *node.Memory) { m.Clients = nil },
		"operator":       func(_ *node.Config, m *node.Memory) { m.Operator = nil },
		"":               func(*node.Config, *node.Memory) {},
	} {
		c := node.DefaultConfig("atlanta.example")
		c.Dir, c.Metrics.Listen, c.Trust.DNS = t.TempDir(), "", "off"
		m := &node.Memory{Keys: k, Transport: 1, Clients: listener{}, Operator: listener{}}
		edit(&c, m)
		_, err := node.New(&c, node.Options{LogTo: io.Discard, Memory: m})
		if why == "" && err != nil || why != "" && (!errors.Is(err, node.ErrConfig) || !strings.Contains(err.Error(), why)) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if f, found := reflect.TypeFor[node.Config]().FieldByName("Memory"); found {
		t.Errorf("mimid.toml can have a node lose everything: %s", f.Tag)
	}
}

// listener never brings anybody.
type listener struct{ net.Listener }
