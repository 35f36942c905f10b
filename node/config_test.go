package node_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node"
)

func TestConfigRoundTrip(t *testing.T) {
	c := node.DefaultConfig("atlanta.example")
	c.Trust.Pins["biloxi.example"] = strings.Repeat("ab", 32)
	c.Overlay.Bootstrap = []string{"/ip4/192.0.2.1/tcp/4001/p2p/x"}
	b, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := node.ParseConfig(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if d := cmp.Diff(&c, back); d != "" {
		t.Error(d)
	}
}

// TestConfigRefused: each error names the place and says what is wrong with it.
func TestConfigRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "domain"},
		{"domain = \"no domain\"", "domain"},
		{"domain = \"atlanta.example\"\ncolour = 3", `line 2: there is no key "colour"`},
		{"domain = \"atlanta.example\"\n[clients]\nport = 3\ncolour = 4", `line 3: there is no key "clients.port"; line 4: there is no key "clients.colour"`},
		{"domain = 3", "line 1"},
		{"domain = \"atlanta.example", "line 1"},
		{"domain = \"atlanta.example\"\n[clients]\nlisten = \"8448\"", "clients.listen"},
		{"domain = \"atlanta.example\"\n[clients]\ntls_key = \"k\"", "set both or none"},
		{"domain = \"atlanta.example\"\n[clients]\nrequests_per_second = 0", "is not positive"},
		{"domain = \"atlanta.example\"\n[metrics]\nlisten = \"0.0.0.0:9\"", "not a loopback address"},
		{"domain = \"atlanta.example\"\n[trust]\ndns = \"maybe\"", "neither system nor off"},
		{"domain = \"atlanta.example\"\n[discovery]\nsalt = \"\"", "discovery.salt"},
		{"domain = \"atlanta.example\"\n[consent]\nmode = \"wide\"", "consent.mode"},
		{"domain = \"atlanta.example\"\n[consent]\nheld_rooms = 5", "consent.held_rooms_of_provider"},
		{"domain = \"atlanta.example\"\n[consent]\nheld_kib = 0", "consent.held_kib"},
		{"domain = \"atlanta.example\"\n[consent]\nheld_for = \"1m\"", "consent.held_for"},
		{"domain = \"atlanta.example\"\n[onion]\nrelay = true", "onion.relay: true needs onion.enabled"},
		{"domain = \"atlanta.example\"\n[onion]\nenabled = true", "onion.witnesses"},
		{"domain = \"atlanta.example\"\n[onion]\nsuite = \"x25519\"", "X25519 and X-Wing are possible"},
		{"domain = \"atlanta.example\"\n[onion]\nenabled = true\nwitnesses = [\"a.example\", \"a.example\"]", "twice"},
		{"domain = \"atlanta.example\"\n[onion]\nmixes = 3", `there is no key "onion.mixes"`},
		{"domain = \"atlanta.example\"\n[onion]\nrate = nan", "onion.rate"},
		{"domain = \"atlanta.example\"\n[onion]\nepoch = \"1s\"", "onion.epoch"},
		{"domain = \"atlanta.example\"\n[onion]\ndelay = \"2h\"", "onion.delay"},
		{"domain = \"atlanta.example\"\n[onion]\noperator = \"A B\"", "onion.operator"},
		{"domain = \"atlanta.example\"\n[onion]\ncapacity = 0", "onion.capacity"},
		{"domain = \"atlanta.example\"\n[log]\nlevel = \"loud\"", "loud"},
		{"domain = \"atlanta.example\"\n[overlay]\nenabled = false", "overlay.enabled: false needs https.listen"},
		{"domain = \"atlanta.example\"\n[overlay]\nconnections = 15", "overlay.connections: 15"},
		{"domain = \"atlanta.example\"\n[overlay]\nconnections = 100001", "overlay.connections: 100001"},
		{"domain = \"atlanta.example\"\n[https]\nlisten = \"443\"", "https.listen"},
		{"domain = \"atlanta.example\"\n[https]\nlisten = \"127.0.0.1:443\"\nkey = \"k\"", "https.certificate and https.key: set both"},
		{"domain = \"atlanta.example\"\n[https]\nlisten = \"127.0.0.1:443\"\ncertificate = \"c\"\nkey = \"k\"\nresolve = {\"Biloxi.example\" = \"127.0.0.1:1\"}", "no domain in lower case"},
		{"domain = \"atlanta.example\"\n[https]\nlisten = \"127.0.0.1:443\"\ncertificate = \"c\"\nkey = \"k\"\nresolve = {\"biloxi.example\" = \"127.0.0.1\"}", "https.resolve: biloxi.example"},
	} {
		_, err := node.ParseConfig([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, expected %q", c.text, err, c.want)
		}
	}
	c, err := node.ParseConfig([]byte("domain = \"Atlanta.Example\"\n[trust]\ndns = \"127.0.0.1:53\"\n[metrics]\nlisten = \"localhost:9\""))
	if err == nil && c.Domain != "atlanta.example" {
		t.Errorf("domain %q", c.Domain)
	}
}

// TestConfigDocumented: what an operator may set says what it is, in the file.
func TestConfigDocumented(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := f.Tag.Get("toml")
			if name == "-" {
				continue
			}
			if name == "" {
				t.Errorf("%s%s has no key", path, f.Name)
			}
			// The second of a pair of files is explained with the first.
			if f.Tag.Get("comment") == "" && name != "tls_key" {
				t.Errorf("%s%s has no comment", path, name)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, path+name+".")
			}
		}
	}
	walk(reflect.TypeFor[node.Config](), "")
}

// TestDefaultsAreSafe: nothing listens beyond this machine before somebody says so.
func TestDefaultsAreSafe(t *testing.T) {
	c := node.DefaultConfig("atlanta.example")
	for _, a := range append(c.Overlay.Listen, c.Clients.Listen, c.Metrics.Listen) {
		if !strings.Contains(a, "127.0.0.1") {
			t.Errorf("listens on %s", a)
		}
	}
	if c.HTTPS.Listen != "" || !c.Overlay.Enabled || c.Onion.Enabled || c.Onion.Relay {
		t.Errorf("%+v", c)
	}
	if c.Trust.DNS != "system" || c.Discovery.Unverified || c.Overlay.MDNS || c.Clients.RequestsPerSecond > 100 {
		t.Errorf("%+v", c)
	}
}
