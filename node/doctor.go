package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/node/stock"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/replica"
)

// What `mimid doctor` looks at. Nothing is changed, no user is named, and what other
// providers are asked is a ping.

const (
	examineWithin = 20 * time.Second // all of it
	askPeers      = 5                // for the time
	maxSkew       = 30 * time.Second // hubs refuse what is minutes off
	soon          = 14 * 24 * time.Hour
	lowPackages   = 10
	phoneNumbers  = 1e10
	guessTime     = 25 * time.Millisecond // of one guess, on a core of 2024
	year          = 365.25 * 24 * 60 * 60 // seconds
)

// Doctor implements admin.Node.
func (n *Node) Doctor(ctx context.Context) (*admin.Examination, error) {
	n.mu.Lock()
	p := n.parts
	n.mu.Unlock()
	x := &admin.Examination{Domain: n.cfg.Domain, Version: n.version, At: n.now().UTC()}
	if err := n.readiness(); err != nil || p == nil {
		return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Detail: "the node is starting or stopping"}
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	checks := []func(context.Context, *parts) []admin.Check{n.checkKey, n.checkRecord, n.checkReachability, n.checkOutside, n.checkCertificate, n.checkClock, n.checkDisk,
		n.checkProviders, n.checkCrowd, n.checkDeliveries, n.checkEvaluators, n.checkOnion, n.checkKeyPackages, n.checkQuotas, n.checkExposure}
	found := make([][]admin.Check, len(checks))
	var looking sync.WaitGroup
	for i, check := range checks {
		looking.Go(func() { found[i] = check(ctx, p) })
	}
	looking.Wait()
	for _, list := range found {
		x.Checks = append(x.Checks, list...)
	}
	return x, nil
}

func good(part, format string, args ...any) admin.Check {
	return admin.Check{Part: part, Outcome: admin.Good, Found: fmt.Sprintf(format, args...)}
}

func worth(part, do, format string, args ...any) admin.Check {
	return admin.Check{Part: part, Outcome: admin.Note, Found: fmt.Sprintf(format, args...), Do: do}
}

func bad(part, do, format string, args ...any) admin.Check {
	return admin.Check{Part: part, Outcome: admin.Bad, Found: fmt.Sprintf(format, args...), Do: do}
}

// checkKey compares the provider key with what DNS says of it.
func (n *Node) checkKey(ctx context.Context, _ *parts) []admin.Check {
	return []admin.Check{keyInDNS(ctx, n.cfg.Domain, n.keys.Fingerprint(), txt(n.cfg.Trust.DNS))}
}

func keyInDNS(ctx context.Context, domain, own string, lookup func(context.Context, string) ([]string, error)) admin.Check {
	const part = "key"
	name := "_mimi." + domain
	publish := fmt.Sprintf("publish a TXT record at %s: %s", name, overlay.TXTRecord(own))
	if lookup == nil {
		return worth(part, publish+", and set trust.dns", "%s; DNS is not asked here (trust.dns = \"off\"): other providers are believed at first use", own)
	}
	list, err := lookup(ctx, name)
	list = slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, overlay.TXTRecord("")) })
	var dns *net.DNSError
	switch {
	case err != nil && !(errors.As(err, &dns) && dns.IsNotFound):
		return worth(part, "look at the resolver (trust.dns)", "%s; DNS could not be asked: %v", own, err)
	case len(list) == 0:
		return worth(part, publish, "%s; DNS does not name it: others believe it at first use", own)
	case slices.Contains(list, overlay.TXTRecord(own)):
		return good(part, "%s, named in DNS", own)
	}
	return bad(part, publish, "%s, but DNS at %s names another key: others refuse this one", own, name)
}

// checkRecord looks at the record by which other providers find this one.
func (n *Node) checkRecord(_ context.Context, p *parts) []admin.Check {
	const part = "record"
	if !n.cfg.Overlay.Enabled {
		return []admin.Check{worth(part, "", "the overlay is off: others find this provider by its HTTPS directory only")}
	}
	for _, k := range p.overlay.Known() {
		if k.Domain != n.cfg.Domain {
			continue
		}
		left := k.Expires.Sub(n.now())
		if k.Expires.IsZero() || left <= 0 {
			return []admin.Check{bad(part, "look in the log for why it is not published", "the provider record has ended: nobody who does not know this provider finds it")}
		}
		return []admin.Check{good(part, "signed, good until %s", k.Expires.UTC().Format(time.DateTime))}
	}
	return []admin.Check{bad(part, "look in the log for why it is not published", "there is no provider record of this provider yet")}
}

// checkReachability says who can reach the node's addresses.
func (n *Node) checkReachability(_ context.Context, p *parts) []admin.Check {
	const part = "reachability"
	var out []admin.Check
	if n.cfg.Overlay.Enabled {
		addrs := n.cfg.Overlay.Announce
		if len(addrs) == 0 {
			addrs = p.overlay.Addrs()
		}
		public := slices.ContainsFunc(addrs, func(a string) bool { return scopeOfAddress(a) == "public" })
		private := slices.ContainsFunc(addrs, func(a string) bool { return scopeOfAddress(a) == "private" })
		switch {
		case len(addrs) == 0:
			out = append(out, bad(part, "set overlay.listen", "the overlay has no address"))
		case public:
			out = append(out, good(part, "%d overlay addresses, some of them public", len(addrs)))
		case private:
			out = append(out, worth(part, "for the Internet: overlay.listen, or overlay.announce behind NAT", "overlay addresses of a private network only"))
		default:
			out = append(out, worth(part, "for others: overlay.listen, such as /ip4/0.0.0.0/tcp/4001", "the overlay is reachable from this machine only"))
		}
	}
	if a, ok := p.listener.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
		out = append(out, worth(part, "", "the client API is on this machine only, at %s: users elsewhere need a proxy in front", a))
	} else {
		out = append(out, good(part, "the client API is at %s", p.listener.Addr()))
	}
	return out
}

// scopeOfAddress says from where a multiaddr can be reached: machine, private, or public.
func scopeOfAddress(a string) string {
	parts := strings.Split(a, "/")
	if len(parts) < 3 || parts[1] != "ip4" && parts[1] != "ip6" {
		return "public" // a name
	}
	ip := net.ParseIP(parts[2])
	switch {
	case ip == nil || ip.IsLoopback() || ip.IsUnspecified():
		return "machine"
	case ip.IsPrivate() || ip.IsLinkLocalUnicast():
		return "private"
	}
	return "public"
}

func (n *Node) checkCertificate(_ context.Context, p *parts) []admin.Check {
	const part = "certificate"
	if p.web == nil {
		return []admin.Check{good(part, "HTTPS between providers is off")}
	}
	ends := p.web.certificate.Ends()
	switch left := ends.Sub(n.now()); {
	case left <= 0:
		return []admin.Check{bad(part, "renew it: the files are read anew", "the HTTPS certificate ended %s", ends.UTC().Format(time.DateTime))}
	case left < soon:
		return []admin.Check{worth(part, "renew it: the files are read anew", "the HTTPS certificate ends %s", ends.UTC().Format(time.DateTime))}
	}
	return []admin.Check{good(part, "the HTTPS certificate is good until %s", ends.UTC().Format(time.DateTime))}
}

// checkClock compares the clock with those of some connected providers.
func (n *Node) checkClock(ctx context.Context, p *parts) []admin.Check {
	const part = "clock"
	var mu sync.Mutex
	var skews []time.Duration // of others, against this clock
	var asking sync.WaitGroup
	asked := 0
	for _, k := range p.overlay.Known() {
		if !k.Connected || k.Domain == n.cfg.Domain || asked == askPeers {
			continue
		}
		asked++
		asking.Go(func() {
			before := n.now()
			resp, err := p.caller.Call(ctx, peering.Request{Target: k.Domain, Endpoint: rooms.EndpointReplica, Subject: k.Domain, Body: replica.Append(nil, nil)})
			if err != nil || resp.Date.IsZero() {
				return
			}
			// A Date is in whole seconds, so it is half a second old on average.
			middle := before.Add(n.now().Sub(before) / 2)
			mu.Lock()
			defer mu.Unlock()
			skews = append(skews, resp.Date.Add(time.Second/2).Sub(middle))
		})
	}
	asking.Wait()
	if len(skews) == 0 {
		return []admin.Check{worth(part, "", "no other provider is connected that could be asked the time")}
	}
	slices.Sort(skews)
	skew := skews[len(skews)/2].Round(time.Second)
	if skew.Abs() > maxSkew {
		return []admin.Check{bad(part, "set the clock (NTP)", "%s off the clocks of %d connected providers (the median): they refuse what is dated so", -skew, len(skews))}
	}
	return []admin.Check{good(part, "within %s of the clocks of %d connected providers", max(skew.Abs(), time.Second), len(skews))}
}

func (n *Node) checkDisk(_ context.Context, p *parts) []admin.Check {
	const part = "disk"
	free, reserve, known := p.store.Space()
	switch {
	case !known:
		return []admin.Check{worth(part, "", "how much is free is not known here")}
	case free < reserve:
		return []admin.Check{bad(part, "make room: nothing is accepted meanwhile", "%d MB free, and nothing is written below %d", free>>20, reserve>>20)}
	case free < 4*reserve:
		return []admin.Check{worth(part, "make room", "%d MB free; nothing is written below %d", free>>20, reserve>>20)}
	}
	return []admin.Check{good(part, "%d MB free; nothing is written below %d", free>>20, reserve>>20)}
}

func (n *Node) checkProviders(_ context.Context, p *parts) []admin.Check {
	const part = "providers"
	known, connected, first := 0, 0, 0
	var out []admin.Check
	for _, k := range p.overlay.Known() {
		if k.Domain == n.cfg.Domain {
			continue
		}
		known++
		if k.Connected {
			connected++
		}
		if trustName(k.Trust) == "first_use" {
			first++
		}
		if k.Conflicts > 0 {
			out = append(out, bad(part, fmt.Sprintf("ask its operator which is right, then: mimid peers pin %s FINGERPRINT", k.Domain),
				"%s: %d records came that another key has signed, the last one %s", k.Domain, k.Conflicts, k.ConflictKey))
		}
	}
	switch {
	case known == 0:
		out = append(out, worth(part, "set overlay.bootstrap", "no other provider is known"))
	case connected == 0:
		out = append(out, bad(part, "look at the network, and at overlay.bootstrap", "of %d known providers none is connected", known))
	default:
		out = append(out, good(part, "%d known, %d connected, %d believed at first use only", known, connected, first))
	}
	return out
}

func (n *Node) checkDeliveries(_ context.Context, p *parts) []admin.Check {
	const part = "deliveries"
	list, err := p.outbox.Waiting()
	if err != nil {
		return []admin.Check{bad(part, "mimid verify", "what waits could not be read: %v", err)}
	}
	items := 0
	var out []admin.Check
	for _, w := range list {
		items += w.Items
		if age := n.now().Sub(w.Since); w.Items > 0 && age > time.Hour {
			out = append(out, worth(part, "", "%d wait for %s, since %s ago", w.Items, w.Target, age.Round(time.Minute)))
		}
	}
	if len(out) == 0 {
		out = append(out, good(part, "%d wait for other providers, none for over an hour", items))
	}
	return out
}

// checkEvaluators has every evaluator evaluate once.
func (n *Node) checkEvaluators(ctx context.Context, p *parts) []admin.Check {
	const part = "evaluators"
	if p.evaluate == nil {
		return []admin.Check{worth(part, "agree with other providers on evaluators: mimid evaluator --help",
			"this network has none: whoever knows the salt can try all phone numbers alone (see exposure)")}
	}
	set := p.evaluate.Set()
	failed, err := p.evaluate.Try(ctx)
	if err != nil {
		return []admin.Check{bad(part, "", "they could not be asked: %v", err)}
	}
	list := set.Evaluators()
	var out []admin.Check
	for i := range list {
		if err := failed[i+1]; err != nil {
			out = append(out, worth(part, "ask its operator", "%s does not evaluate: %v", list[i].Domain(), err))
		}
	}
	own := "this provider is none of them"
	if k := p.evaluate.Number(); k > 0 {
		own = fmt.Sprintf("this provider is number %d", k)
	}
	well := len(list) - len(failed)
	switch text := fmt.Sprintf("%d of %d answer, %d are needed; %s", well, len(list), set.Threshold(), own); {
	case well < set.Threshold():
		out = append(out, bad(part, "nothing is found or published until more of them answer", "%s", text))
	case well == set.Threshold() && well < len(list):
		out = append(out, worth(part, "one more that fails, and nothing is found", "%s", text))
	default:
		out = append(out, good(part, "%s", text))
	}
	return out
}

// checkKeyPackages counts users who cannot be added to rooms as they should, and names none.
func (n *Node) checkKeyPackages(ctx context.Context, p *parts) []admin.Check {
	const part, page = "keypackages", 500
	if err := p.stock.Look(ctx); err != nil {
		return []admin.Check{bad(part, "look in the log, and try mimid verify", "whether users can be added could not be found out: %v", err)}
	}
	low := 0
	for after := ""; ; {
		list, err := p.accounts.Users(ctx, after, page)
		if err != nil {
			return []admin.Check{bad(part, "mimid verify", "accounts could not be read: %v", err)}
		}
		for _, u := range list {
			if slices.ContainsFunc(u.Devices, func(d clientapi.Device) bool { return d.KeyPackages < lowPackages }) {
				low++
			}
		}
		if len(list) < page {
			break
		}
		after = list[len(list)-1].Name
	}
	return []admin.Check{judgeStock(part, p.stock.Counts(), low)}
}

// judgeStock says what the counts mean. Some devices are always away for long. When it is most
// of all users, it is not the devices.
func judgeStock(part string, c stock.Counts, low int) admin.Check {
	const come = "mimid account list names them; devices bring KeyPackages when they come"
	all := c.Users()
	switch {
	case all == 0:
		return good(part, "there are no users yet")
	case c.None > 1 && 2*c.None > all:
		return bad(part, "look in the log for refused KeyPackages; after a change of the provider key devices need new certificates",
			"%d of %d users cannot be added to rooms: no device has a KeyPackage that others take", c.None, all)
	case c.None > 0:
		return worth(part, come, "%d of %d users cannot be added to rooms: no device has a KeyPackage; %d more have a device without any", c.None, all, c.Partly)
	case c.Partly > 0:
		return worth(part, come, "%d of %d users have a device without any KeyPackage, which would be missing in new rooms", c.Partly, all)
	case c.Reserve > 0:
		return worth(part, come, "%d of %d users have a device whose last resort is all that is left", c.Reserve, all)
	case low > 0:
		return worth(part, "", "%d of %d users have a device with fewer than %d KeyPackages", low, all, lowPackages)
	case c.Unseen > 0:
		return worth(part, "", "%d of %d users have not been looked at since the start", c.Unseen, all)
	}
	return good(part, "all %d users have at least %d for each device", all, lowPackages)
}

func (n *Node) checkQuotas(_ context.Context, p *parts) []admin.Check {
	const part = "quotas"
	l := p.contacts.Limits()
	out := []admin.Check{good(part, "a user may look up an identifier each %.0f s (%.0f at once), another provider %.0f/s (%.0f at once)",
		1/l.Searches.PerSecond, l.Searches.Burst, l.Lookups.PerSecond, l.Lookups.Burst),
		good(part, "requests for consent: %.1f/s of another provider (%.0f at once), at most %d pending of one, %d for one user",
			l.Requests.PerSecond, l.Requests.Burst, l.PendingPerProvider, l.PendingPerTarget),
		good(part, "in quarantine: at most %d rooms of one user, %d of them by users of one provider, for %.0f days",
			l.HeldPerTarget, l.HeldPerPair, l.HeldFor.Hours()/24)}
	if p.evaluate != nil {
		e := p.evaluate.Limits()
		out = append(out, good(part, "evaluations: %.0f a day for a user (%.0f at once), %.0f/s for another provider (%.0f at once)",
			e.Users.PerSecond*24*60*60, e.Users.Burst, e.Providers.PerSecond, e.Providers.Burst))
	}
	return out
}

// checkExposure says what it costs to find out all phone numbers that are published.
func (n *Node) checkExposure(_ context.Context, p *parts) []admin.Check {
	const part = "exposure"
	sii, err := discovery.ParseSII("handle:doctor")
	if err != nil {
		return []admin.Check{bad(part, "", "%v", err)}
	}
	each := guessTime
	for range 3 { // a busy machine makes guesses no dearer for others
		began := time.Now()
		if _, err := (discovery.Network{Salt: n.cfg.Discovery.Salt}).Secret(sii); err != nil {
			return []admin.Check{bad(part, "", "%v", err)}
		}
		each = min(each, time.Since(began))
	}
	offline := fmt.Sprintf("%.1f CPU-years offline (10^10 guesses of %s)", phoneNumbers*each.Seconds()/year, each.Round(time.Millisecond))
	if p.evaluate == nil {
		return []admin.Check{worth(part, "evaluators make it a matter of quotas: mimid evaluator --help",
			"trying all 10^10 phone numbers costs anybody %s, once for this network's salt", offline)}
	}
	e := p.evaluate.Limits()
	set := p.evaluate.Set()
	return []admin.Check{good(part, "trying all 10^10 phone numbers costs a provider %.0f years at %.0f/s, the quota of each evaluator, and users %.0f account-years at %.0f a day; %d evaluators that collude %s",
		phoneNumbers/e.Providers.PerSecond/year, e.Providers.PerSecond, phoneNumbers/e.Users.PerSecond/year, e.Users.PerSecond*24*60*60, set.Threshold(), offline)}
}
