package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/uri"
)

// ErrConfig: mimid.toml cannot be used. The text names the file, the line and what
// to write instead.
var ErrConfig = errors.New("node: unusable configuration")

// ConfigName is the name of the configuration in the data directory.
const ConfigName = "mimid.toml"

// Config is mimid.toml. A key that is not listed here is an error. Durations are
// texts such as "30s".
type Config struct {
	// Domain is the provider's name: a DNS domain that you control, since others
	// may check the key against DNS, or <key>.p2p.invalid. It cannot be changed
	// later, it is part of every user's name.
	Domain string `toml:"domain" comment:"The provider's name, a DNS domain. Part of every user's name: it cannot be changed later."`

	Clients      Clients      `toml:"clients" comment:"Where users' clients connect."`
	Overlay      Overlay      `toml:"overlay" comment:"Where other providers connect."`
	HTTPS        HTTPS        `toml:"https" comment:"MIMI over HTTPS, for providers without the overlay; off without listen."`
	Trust        Trust        `toml:"trust" comment:"Which key speaks for which provider."`
	Failover     Failover     `toml:"failover" comment:"When another provider counts as dead, so that rooms move away from it."`
	Discovery    Discovery    `toml:"discovery" comment:"How users are found by handle or phone number."`
	Consent      Consent      `toml:"consent" comment:"What becomes of strangers who want something of users."`
	Introduction Introduction `toml:"introduction" comment:"Requests of users who do not say who they are, for first contact."`
	Verification Verification `toml:"verification" comment:"Be an authority that verifies mail addresses and numbers for users of all providers; off without smtp and webhook."`
	Onion        Onion        `toml:"onion" comment:"Sending over relays that hide who talks to whom; off without enabled."`
	Assets       Assets       `toml:"assets" comment:"Attachments that users keep here, encrypted by their devices."`
	Metrics      Metrics      `toml:"metrics" comment:"Prometheus metrics and health."`
	Store        Store        `toml:"store" comment:"The database."`
	Log          Log          `toml:"log" comment:"Logging, to standard error."`

	// Dir is the data directory, in which the file lies.
	Dir string `toml:"-"`
}

// Clients is the section [clients].
type Clients struct {
	// Listen is the address of the client API, host:port. Without a certificate it
	// must be a loopback address; put a reverse proxy in front, or set one.
	Listen string `toml:"listen" comment:"Address of the client API. Plain HTTP is served on loopback addresses only."`
	// TLSCertificate and TLSKey are PEM files; paths are relative to the data
	// directory.
	TLSCertificate string `toml:"tls_certificate" comment:"PEM files; relative to this directory. Empty: plain HTTP."`
	TLSKey         string `toml:"tls_key"`
	// RequestsPerSecond is what one device may ask per second, four times as much
	// at once.
	RequestsPerSecond float64 `toml:"requests_per_second" comment:"What one device may ask for per second; four times as much at once."`
}

// Overlay is the section [overlay].
type Overlay struct {
	// Enabled: without the overlay, providers are found and reached by HTTPS only, which
	// must be set up then. Users are not found by handle or phone number, a room's new
	// hub not by the room's address alone, and no third provider for a room of two.
	Enabled bool `toml:"enabled" comment:"Take part in the overlay. Without it, all goes by HTTPS, which must be set up below."`
	// Listen are libp2p multiaddrs. The default listens on loopback only: nothing is
	// reachable from outside before the operator says so.
	Listen []string `toml:"listen" comment:"libp2p addresses, such as /ip4/0.0.0.0/tcp/4001 and /ip4/0.0.0.0/udp/4001/quic-v1."`
	// Announce are the addresses to publish, if they are not those listened on.
	Announce []string `toml:"announce" comment:"Addresses to publish instead, for a node behind NAT."`
	// Bootstrap are nodes to meet others through, multiaddrs with /p2p/<peer id>.
	Bootstrap []string `toml:"bootstrap" comment:"Nodes to meet others through, with /p2p/<peer id>."`
	// Connections is how many connections with other nodes are kept: beyond it those are closed that are neither new nor in
	// use. Each takes about 130 KiB with QUIC. Fewer make the node open some anew that it had, so that it finds others later.
	Connections int `toml:"connections" comment:"How many connections with other nodes are kept, 16 to 100000; beyond it idle ones are closed."`
	// MDNS finds nodes on the LAN and is found by them.
	MDNS bool `toml:"mdns" comment:"Find nodes on the local network."`
	// Look is how often another provider is asked whether strangers can reach this one and claim
	// KeyPackages; with more than 30s, it takes more than a minute to notice that they cannot.
	Look Duration `toml:"look" comment:"How often another provider is asked whether strangers can reach this one and add its users. 0s: never."`
	// Public says that the network is the Internet: private addresses are refused.
	Public bool `toml:"public" comment:"The network is the Internet: refuse private addresses."`
}

// HTTPS is the section [https]: the binding of MIMI to HTTPS with certificates on both
// sides. With it, the certificate of a provider's HTTPS directory also counts as proof of
// its key, after pins and DNS and before first use.
type HTTPS struct {
	// Listen is the address, host:port; others expect it at port 443 of the domain. Empty:
	// HTTPS is off, in both directions.
	Listen string `toml:"listen" comment:"Address; others look for it at port 443 of the domain. Empty: off, in both directions."`
	// Certificate and Key are PEM files; paths are relative to the data directory. The
	// certificate must name the domain, without a wildcard. It is shown as a server and as
	// a client, and read anew within a minute when the files change.
	Certificate string `toml:"certificate" comment:"PEM files; relative to this directory. The certificate names the domain itself; it is read anew when it changes."`
	Key         string `toml:"key" comment:"Its private key, PEM."`
	// Roots is a PEM file of those whose certificates of other providers are believed.
	// Empty: whom the system believes.
	Roots string `toml:"roots" comment:"PEM file of those who may certify other providers. Empty: the system's."`
	// Resolve names the addresses of providers that DNS does not know, as in a private
	// network.
	Resolve map[string]string `toml:"resolve" comment:"Addresses (host:port) of providers that are not to be looked up in DNS, by domain."`
}

// Trust is the section [trust].
type Trust struct {
	// DNS says who is asked for _mimi.<domain> TXT records: "system", "off", or the
	// address of a resolver. With "off" a name is believed to whoever claims it
	// first, unless it is pinned.
	DNS string `toml:"dns" comment:"Check provider keys in DNS (TXT at _mimi.<domain>): system, off, or a resolver's host:port."`
	// Pins are fingerprints of provider keys by domain; they outrank all else.
	Pins map[string]string `toml:"pins" comment:"Fingerprints of provider keys that outrank all else, by domain."`
}

// Failover is the section [failover]: how closely the other providers of rooms with
// several replicas are watched.
type Failover struct {
	// Interval is how often a provider is pinged with which rooms are shared that are
	// in use; at most 0.45 of Timeout.
	Interval Duration `toml:"interval" comment:"How often a provider is pinged with which busy rooms are shared; at most 0.45 of timeout."`
	// Idle is the same where nothing is said in these rooms.
	Idle Duration `toml:"idle" comment:"The same while nothing is said in the rooms."`
	// Timeout is how long a provider may be silent before it counts as dead.
	Timeout Duration `toml:"timeout" comment:"How long a provider may be silent before it counts as dead."`
	// Stall is for how long a provider that answers may leave lying what is submitted to
	// a room that it orders; then the room's other replicas are asked to bring it there,
	// and when it stays there as long again they give the room to another. At least 1s.
	Stall Duration `toml:"stall" comment:"How long a provider that answers may leave lying what is sent to a room, before others are asked to see to it."`
	// ReplicaForOthers offers to be a replica of rooms in which two other providers take
	// part and no user of this one: it keeps their logs, decides with them, may order
	// them, and sees who takes part, but reads nothing.
	ReplicaForOthers bool `toml:"replica_for_others" comment:"Offer to keep rooms of two other providers, so that these survive either; no user of this provider is in them."`
	// ReplicaRooms is how many such rooms there may be, ReplicaRoomsPerProvider how many
	// of them one provider may ask for.
	ReplicaRooms            int `toml:"replica_rooms" comment:"How many such rooms at most."`
	ReplicaRoomsPerProvider int `toml:"replica_rooms_per_provider" comment:"How many of them one provider may ask for."`
	// RecruitPatience is how long a replica that was recruited for rooms of users of this
	// provider may be silent before another one is looked for. At least 1s.
	RecruitPatience Duration `toml:"recruit_patience" comment:"How long a provider may be silent that was recruited for rooms of users here, before another one is looked for."`
}

// Discovery is the section [discovery].
type Discovery struct {
	// Salt is the network's, the same at all providers that shall find each other's
	// users.
	Salt string `toml:"salt" comment:"The same at all providers that shall find each other's users."`
	// Unverified lets users publish phone numbers and mail addresses that this
	// provider has not verified; claims say so.
	Unverified bool `toml:"unverified" comment:"Let users publish phone numbers and mail addresses that nobody has verified."`
	// Queries answers MIMI's identifierQuery of other providers for handles that users have
	// published. Without it all are refused as forbidden; the search in the overlay goes on.
	Queries bool `toml:"queries" comment:"Answer other providers' queries for handles that users have published here."`
	// Names lets users choose to be found by parts of their names in such queries. Nobody is
	// who has not chosen that.
	Names bool `toml:"names" comment:"Let users choose to be found by parts of their names in such queries."`
	// Authorities are the providers whose word users and this provider take for it that
	// somebody holds a mail address or number. This provider, if it is an authority, is
	// always among them.
	Authorities []string `toml:"authorities" comment:"Domains of the verification authorities that are believed, besides this provider if it is one."`
}

// Consent is the section [consent].
type Consent struct {
	// Mode is that of users who have chosen none: ask, open, quarantine or closed.
	Mode string `toml:"mode" comment:"What becomes of strangers who want something of a user that has not said: ask, open, quarantine or closed."`
	// HeldRooms bounds rooms in quarantine of one user, HeldRoomsOfProvider those of one user
	// that users of one other provider have made. The newest are dropped.
	HeldRooms           int `toml:"held_rooms" comment:"How many rooms one user may have in quarantine; what is over it is dropped."`
	HeldRoomsOfProvider int `toml:"held_rooms_of_provider" comment:"How many of these users of one other provider may have made."`
	// HeldKiB bounds the Welcomes of these rooms of one user, in KiB.
	HeldKiB int `toml:"held_kib" comment:"How much of one user's is kept for these rooms, in KiB, beside their logs."`
	// HeldFor is for how long rooms and requests are in quarantine.
	HeldFor Duration `toml:"held_for" comment:"For how long rooms and requests are in quarantine."`
}

func (c *Consent) check() error {
	if _, ok := consent.ParseMode(c.Mode); !ok {
		return fmt.Errorf("consent.mode: %q is neither ask nor open, quarantine or closed", c.Mode)
	}
	if c.HeldRooms < 1 || c.HeldRooms > 10_000 || c.HeldRoomsOfProvider < 1 || c.HeldRoomsOfProvider > c.HeldRooms {
		return fmt.Errorf("consent.held_rooms and consent.held_rooms_of_provider: %d and %d; 1 at least, 10000 at most, and the second no more than the first", c.HeldRooms, c.HeldRoomsOfProvider)
	}
	if c.HeldKiB < 64 || c.HeldKiB > 1<<20 {
		return fmt.Errorf("consent.held_kib: %d; 64 at least, 1048576 at most", c.HeldKiB)
	}
	if d := time.Duration(c.HeldFor); d < time.Hour || d > 365*24*time.Hour {
		return fmt.Errorf("consent.held_for: %s; 1h at least, 8760h at most", d)
	}
	return nil
}

// limits are those of the contacts, where the operator has a say.
func (c *Consent) limits() contact.Limits {
	return contact.Limits{HeldPerTarget: c.HeldRooms, HeldPerPair: c.HeldRoomsOfProvider, HeldOctets: c.HeldKiB << 10, HeldFor: time.Duration(c.HeldFor)}
}

// Assets is the section [assets].
type Assets struct {
	// MaxSize is how large an attachment may be, User how much one user may keep, and Total
	// how much all users together, in MiB.
	MaxSize int `toml:"max_size" comment:"Largest attachment, in MiB."`
	User    int `toml:"user" comment:"How much one user may keep, in MiB."`
	Total   int `toml:"total" comment:"How much all users together may keep, in MiB."`
	// Keep is for how long an attachment is kept, "0s" for ever.
	Keep Duration `toml:"keep" comment:"For how long an attachment is kept; 0s for ever."`
}

// Metrics is the section [metrics].
type Metrics struct {
	// Listen is a loopback address for /metrics, /healthz and /readyz. Empty: none.
	Listen string `toml:"listen" comment:"Loopback address of /metrics, /healthz and /readyz. Empty: none."`
}

// Store is the section [store].
type Store struct {
	// Small takes little memory and is slower; for tests and simulations. All nodes
	// must have it then: one with it can neither keep entries beyond 128 KiB nor
	// follow the rooms of one without it.
	Small bool `toml:"small" comment:"Little memory, for tests, at all nodes alike: such a node cannot follow rooms of a node without it."`
	// Memory is the soft limit, in MiB, of the memory of the process running
	// `mimid serve`: near it, more work goes into collecting garbage. A node that needs
	// more takes more. The environment variable GOMEMLIMIT outranks it. 0: no limit.
	Memory int `toml:"memory" comment:"Soft limit of the process's memory in MiB; 0 for none. GOMEMLIMIT outranks it."`
}

// Log is the section [log].
type Log struct {
	// Level is debug, info, warn or error.
	Level string `toml:"level" comment:"debug, info, warn or error"`
	// JSON writes one JSON object per line.
	JSON bool `toml:"json" comment:"One JSON object per line."`
}

// DefaultConfig returns the configuration that `mimid init` writes.
func DefaultConfig(domain string) Config {
	return Config{
		Domain:  domain,
		Clients: Clients{Listen: "127.0.0.1:8448", RequestsPerSecond: 50},
		Overlay: Overlay{Enabled: true, Listen: []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1"}, Announce: []string{}, Bootstrap: []string{}, Connections: 900, Look: Duration(20 * time.Second)},
		HTTPS:   HTTPS{Resolve: map[string]string{}},
		Trust:   Trust{DNS: "system", Pins: map[string]string{}},
		Failover: Failover{Interval: Duration(400 * time.Millisecond), Idle: Duration(5 * time.Second), Timeout: Duration(time.Second), Stall: Duration(5 * time.Second),
			ReplicaRooms: 1000, ReplicaRoomsPerProvider: 100, RecruitPatience: Duration(time.Hour)},
		Discovery:    Discovery{Salt: "mimi", Queries: true, Authorities: []string{}},
		Introduction: Introduction{TokensPerDay: 5},
		Verification: Verification{Serve: []string{}},
		Assets:       Assets{MaxSize: 100, User: 1 << 10, Total: 10 << 10, Keep: Duration(90 * 24 * time.Hour)},
		Onion:        defaultOnion(),
		Metrics:      Metrics{Listen: "127.0.0.1:9448"},
		Store:        Store{Memory: 512},
		Log:          Log{Level: "info"},
		Consent:      Consent{Mode: "ask", HeldRooms: 50, HeldRoomsOfProvider: 10, HeldKiB: 2 << 10, HeldFor: Duration(14 * 24 * time.Hour)},
	}
}

// ReadConfig reads the configuration of a data directory. Error: ErrConfig.
func ReadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigName)
	b, err := readAtMost(path, maxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s; make one with `mimid init --domain DOMAIN --dir %s`", ErrConfig, path, dir)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: %w; run mimid as the user who owns %s", ErrConfig, err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := ParseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	c.Dir = dir
	return c, nil
}

// maxConfig is how large a configuration file may be.
const maxConfig = 1 << 20

func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// ParseConfig reads a configuration; what it does not set has its default.
func ParseConfig(b []byte) (*Config, error) {
	c := DefaultConfig("")
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		var strict *toml.StrictMissingError
		var bad *toml.DecodeError
		switch {
		case errors.As(err, &strict):
			var all []string
			for _, e := range strict.Errors {
				row, _ := e.Position()
				all = append(all, fmt.Sprintf("line %d: there is no key %q", row, strings.Join(e.Key(), ".")))
			}
			return nil, errors.New(strings.Join(all, "; "))
		case errors.As(err, &bad):
			row, col := bad.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", row, col, err)
		}
		return nil, err
	}
	return &c, c.check()
}

func (c *Config) check() error {
	p, err := uri.ParseDomain(c.Domain)
	if err != nil {
		return fmt.Errorf("domain: %w", err)
	}
	c.Domain = p.Domain()
	if err := hostPort("clients.listen", c.Clients.Listen); err != nil {
		return err
	}
	if (c.Clients.TLSCertificate == "") != (c.Clients.TLSKey == "") {
		return errors.New("clients.tls_certificate and clients.tls_key: set both or none")
	}
	if c.Clients.RequestsPerSecond <= 0 {
		return fmt.Errorf("clients.requests_per_second: %v is not positive", c.Clients.RequestsPerSecond)
	}
	if c.Metrics.Listen != "" {
		if err := hostPort("metrics.listen", c.Metrics.Listen); err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(c.Metrics.Listen)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("metrics.listen: %s is not a loopback address; metrics have no access control", c.Metrics.Listen)
		}
	}
	if n := c.Overlay.Connections; n < 16 || n > 100_000 {
		return fmt.Errorf("overlay.connections: %d; 16 at least, 100000 at most", n)
	}
	if d := time.Duration(c.Overlay.Look); d != 0 && d < 10*time.Second {
		return fmt.Errorf("overlay.look: %s; 10s at least, or 0s for never", d)
	}
	if err := c.HTTPS.check(c.Overlay.Enabled); err != nil {
		return err
	}
	if s := c.Trust.DNS; s != "system" && s != "off" {
		if err := hostPort("trust.dns", s); err != nil {
			return fmt.Errorf("trust.dns: %q is neither system nor off nor a resolver's host:port", s)
		}
	}
	if f := c.Failover; f.Interval <= 0 || f.Timeout <= 0 || float64(f.Interval) > 0.45*float64(f.Timeout) || f.Idle < f.Interval {
		return fmt.Errorf("failover: interval %s must be positive and at most 0.45 of timeout %s, idle %s at least interval",
			time.Duration(f.Interval), time.Duration(f.Timeout), time.Duration(f.Idle))
	}
	if s := time.Duration(c.Failover.Stall); s < time.Second {
		return fmt.Errorf("failover.stall: %s; 1s at least, or a hub that is merely slow loses its rooms", s)
	}
	if f := c.Failover; f.ReplicaForOthers && (f.ReplicaRooms < 1 || f.ReplicaRoomsPerProvider < 1) {
		return fmt.Errorf("failover.replica_rooms and failover.replica_rooms_per_provider: %d and %d; 1 at least, or replica_for_others = false", f.ReplicaRooms, f.ReplicaRoomsPerProvider)
	}
	if p := time.Duration(c.Failover.RecruitPatience); p < time.Second {
		return fmt.Errorf("failover.recruit_patience: %s; 1s at least", p)
	}
	if c.Discovery.Salt == "" {
		return errors.New("discovery.salt: must not be empty")
	}
	for i, d := range c.Discovery.Authorities {
		p, err := uri.ParseDomain(d)
		if err != nil || slices.Contains(c.Discovery.Authorities[:i], p.Domain()) {
			return fmt.Errorf("discovery.authorities: %q is no domain in lower case, or stands there twice", d)
		}
	}
	if err := c.Verification.check(); err != nil {
		return err
	}
	if err := c.Consent.check(); err != nil {
		return err
	}
	if err := c.Introduction.check(); err != nil {
		return err
	}
	if err := c.Onion.check(c.Overlay.Enabled); err != nil {
		return err
	}
	if a := c.Assets; a.MaxSize < 1 || a.User < a.MaxSize || a.Total < a.User || a.Total > 1<<40 || a.Keep < 0 {
		return fmt.Errorf("assets: max_size %d, user %d, total %d MiB, keep %s: 1 at least, each as much as the one before, and keep not negative",
			a.MaxSize, a.User, a.Total, time.Duration(a.Keep))
	}
	if c.Store.Memory < 0 || c.Store.Memory > 0 && c.Store.Memory < 64 {
		return fmt.Errorf("store.memory: %d MiB; 0 for no limit, or 64 at least", c.Store.Memory)
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Log.Level)
	}
	return nil
}

func (h *HTTPS) check(overlay bool) error {
	if h.Listen == "" {
		if !overlay {
			return errors.New("overlay.enabled: false needs https.listen, or this provider could reach nobody")
		}
		return nil
	}
	if err := hostPort("https.listen", h.Listen); err != nil {
		return err
	}
	if h.Certificate == "" || h.Key == "" {
		return errors.New("https.certificate and https.key: set both, or leave https.listen empty")
	}
	for _, d := range slices.Sorted(maps.Keys(h.Resolve)) {
		if p, err := uri.ParseDomain(d); err != nil || p.Domain() != d {
			return fmt.Errorf("https.resolve: %q is no domain in lower case", d)
		}
		if err := hostPort("https.resolve: "+d, h.Resolve[d]); err != nil {
			return err
		}
	}
	return nil
}

func hostPort(key, s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return fmt.Errorf("%s: %q is not host:port", key, s)
	}
	return nil
}

// Bytes writes the configuration with its comments.
func (c *Config) Bytes() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Configuration of mimid. `mimid serve` refuses keys that it does not know.\n")
	e := toml.NewEncoder(&b)
	if err := e.Encode(c); err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return b.Bytes(), nil
}

// offer is how many rooms of others this provider offers to be a replica of.
func (f *Failover) offer() rooms.Offer {
	if !f.ReplicaForOthers {
		return rooms.Offer{}
	}
	return rooms.Offer{Rooms: f.ReplicaRooms, PerProvider: f.ReplicaRoomsPerProvider}
}

// limits are those of the store of attachments.
func (a *Assets) limits() assets.Limits {
	return assets.Limits{Size: int64(a.MaxSize)<<20 + asset.TagSize, User: int64(a.User) << 20, Total: int64(a.Total) << 20, Keep: time.Duration(a.Keep)}
}

// StopTimeout is how long a node may take to stop.
const StopTimeout = 15 * time.Second
