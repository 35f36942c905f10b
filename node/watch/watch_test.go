package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/watch"
)

const (
	interval = 400 * time.Millisecond
	idle     = 5 * time.Second
	timeout  = time.Second
	grain    = interval / 40
)

func TestADeadBusyProviderIsFoundWithinTimeout(t *testing.T) {
	for _, m := range []manner{refuses, hangs, ignores} {
		for phase := range 20 { // of the ping cycle in which it dies
			t.Run(fmt.Sprint(m, phase), func(t *testing.T) {
				run(t, map[string]watch.Rate{biloxi: watch.Busy, chicago: watch.Busy}, nil, func(n *world) {
					n.wait(10*time.Second + time.Duration(phase)*interval/20)
					n.want("while all live")
					died := n.since()
					n.set(m, biloxi)
					n.wait(timeout + interval)
					got := n.log()
					if len(got) != 1 || got[0].domain != biloxi || !got[0].dead {
						t.Fatalf("changes %v, want the death of biloxi", got)
					}
					if took := got[0].at - died; took > timeout+grain || took < timeout-interval-grain {
						t.Errorf("dead after %v", took)
					}
					if !n.Dead(biloxi) || n.Dead(chicago) || n.Dead("nobody.example") {
						t.Error("Dead tells otherwise")
					}
				})
			})
		}
	}
}

func TestADeadIdleProviderIsFoundWithinIdleAndTimeout(t *testing.T) {
	run(t, many(20, watch.Idle), nil, func(n *world) {
		n.wait(time.Minute)
		died := n.since()
		for d := range many(20, watch.Idle) {
			n.set(hangs, d)
		}
		n.wait(idle + timeout)
		got := n.log()
		if len(got) != 20 {
			t.Fatalf("%d of 20 found dead", len(got))
		}
		for _, c := range got {
			if c.at-died < timeout-interval-grain {
				t.Errorf("%s dead after only %v", c.domain, c.at-died)
			}
		}
	})
}

func TestAProviderThatBecomesBusyIsAskedSoon(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Idle}, nil, func(n *world) {
		n.wait(time.Minute)
		for n.pings[biloxi] == 12 { // just after a ping: the worst moment
			n.wait(grain)
		}
		n.set(hangs, biloxi)
		n.wait(interval)
		n.with(func() { n.targets[biloxi] = watch.Busy })
		n.wait(interval + timeout)
		n.want("a busy hub that hangs", biloxi+" true")
	})
}

func TestAReturnIsNoticed(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.wait(3 * time.Second)
		n.set(hangs, biloxi)
		n.wait(time.Hour)
		n.want("hung for an hour", biloxi+" true")
		n.set(answers, biloxi)
		n.wait(idle + 2*timeout + grain)
		n.want("answers again", biloxi+" false")
		n.wait(time.Minute)
		n.want("goes on")

		n.set(refuses, biloxi)
		n.wait(time.Minute)
		n.want("refuses", biloxi+" true")
		before := n.since()
		n.Heard(biloxi)
		n.wait(0)
		got := n.log()
		if len(got) != 1 || got[0].dead || got[0].at != before {
			t.Errorf("after a request of the dead: changes %v, want a return at once", got)
		}
		s := n.Stats()
		if s.Deaths != 2 || s.Returns != 2 || s.Dead != 0 || s.Targets != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestPingsToTheDeadBecomeRare(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.set(refuses, biloxi)
		n.wait(time.Minute)
		before := n.pings[biloxi]
		n.wait(100 * idle)
		if got := n.pings[biloxi] - before; got < 100 || got > 126 {
			t.Errorf("%d pings in 100 idle intervals, want 100 to 125", got)
		}
	})
}

func TestWhoIsHeardIsAliveAndNotPinged(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.wait(2 * time.Second)
		n.set(refuses, biloxi) // one way only
		before := n.pings[biloxi]
		for range 400 {
			n.Heard(biloxi)
			n.wait(interval / 2)
		}
		n.want("heard all the time")
		if got := n.pings[biloxi] - before; got > 0 {
			t.Errorf("%d pings to one that is heard", got)
		}
	})
}

func TestFlappingIsToldInTurnsAndSeldom(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.wait(2 * time.Second)
		n.set(refuses, biloxi)
		for range 100 {
			n.Heard(biloxi)
			n.wait(timeout * 3 / 2)
		}
		got := n.log()
		if len(got) != 199 { // it ends dead
			t.Errorf("%d changes in 100 rounds, want 199", len(got))
		}
		for i, c := range got {
			if c.dead != (i%2 == 0) {
				t.Fatalf("change %d is %v, the same twice", i, c)
			}
		}
		for range 1000 { // above the timeout by nothing: no death
			n.Heard(biloxi)
			n.wait(timeout - grain)
		}
		n.want("just fast enough", biloxi+" false")
	})
}

func TestSlowAnswers(t *testing.T) {
	// Up to half of Timeout they do not matter.
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.with(func() { n.delay = timeout/2 - grain })
		n.wait(10 * time.Minute)
		n.want("slow, but not too slow")
	})
	// A first connection may take long, and one after a return too.
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.with(func() { n.delay = 2*timeout - grain })
		n.wait(2 * timeout)
		n.with(func() { n.delay = grain })
		n.wait(time.Minute)
		n.want("slow first connection")
		n.set(hangs, biloxi)
		n.wait(time.Minute)
		n.with(func() { n.delay = 2*timeout - grain })
		n.set(answers, biloxi)
		n.wait(idle + 4*timeout)
		got := n.log()
		if len(got) < 2 || got[1].dead {
			t.Errorf("slow return: changes %v", got)
		}
	})
}

func TestOneThatWasNeverHeardGetsThreeTimeouts(t *testing.T) {
	for _, m := range []manner{refuses, hangs, ignores} {
		run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
			n.set(m, biloxi)
			n.wait(3*timeout - grain)
			n.want("before")
			n.wait(2 * timeout)
			n.want("after", biloxi+" true")
		})
	}
}

func TestHungPingsDelayNobody(t *testing.T) {
	targets := many(300, watch.Busy)
	run(t, targets, nil, func(n *world) {
		n.wait(5 * time.Second)
		for d := range targets {
			if d != "p150.example" {
				n.set(ignores, d)
			}
		}
		before := n.pings["p150.example"]
		n.wait(time.Minute)
		if got := len(n.log()); got != 299 || n.Dead("p150.example") {
			t.Errorf("%d deaths among 299", got)
		}
		if got := n.pings["p150.example"] - before; got < 148 || got > 188 {
			t.Errorf("%d pings in a minute to the one that answers, want about 165", got)
		}
		if n.most > 300 {
			t.Errorf("%d pings out at once for 300 providers", n.most)
		}
	})
}

func TestOwnSuspensionKillsNobody(t *testing.T) {
	for _, c := range []struct {
		name string
		leap func(n *world)
	}{
		{"stopped: the clock went on, the timer did not", func(n *world) { n.leap += time.Minute }},
		{"asleep: only the time of day went on", func(n *world) { n.slept += time.Minute }},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, many(50, watch.Busy), nil, func(n *world) {
				n.wait(10 * time.Second)
				n.set(refuses, "p007.example") // our connections are gone for a moment
				for d := range n.targets {
					n.set(refuses, d)
				}
				n.with(func() { c.leap(n) })
				n.wait(timeout)
				n.want("in the first timeout after it")
				for d := range n.targets {
					n.set(answers, d)
				}
				n.set(hangs, "p007.example")
				n.wait(time.Minute)
				n.want("later", "p007.example true")
				if s := n.Stats(); s.Suspended != 1 {
					t.Errorf("suspended %d times, want once", s.Suspended)
				}
				n.with(func() { c.leap(n) })
				n.wait(time.Second)
				n.want("the dead stay dead")
			})
		})
	}
}

func TestTheTimeOfDaySetBackIsNoSuspension(t *testing.T) {
	run(t, many(5, watch.Busy), nil, func(n *world) {
		n.wait(time.Second)
		n.with(func() { n.slept -= time.Hour })
		n.wait(time.Minute)
		n.want("after it")
		if s := n.Stats(); s.Suspended != 0 {
			t.Errorf("suspended %d times", s.Suspended)
		}
	})
}

func TestTargetsComeAndGo(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.set(hangs, biloxi, chicago)
		n.wait(10 * time.Second)
		n.want("biloxi hangs", biloxi+" true")
		n.with(func() { n.targets = map[string]watch.Rate{chicago: watch.Busy} })
		n.wait(interval + grain)
		if n.Dead(biloxi) {
			t.Error("a former target is still dead")
		}
		n.Heard(biloxi) // ignored
		n.wait(10 * time.Second)
		n.want("chicago came", chicago+" true")
		if s := n.Stats(); s.Targets != 1 || s.Dead != 1 {
			t.Errorf("counted %+v", s)
		}
		n.with(func() { n.targets = nil })
		n.wait(10 * time.Second)
		n.want("nobody left")
		if s := n.Stats(); s.Targets != 0 || s.Dead != 0 {
			t.Errorf("counted %+v", s)
		}
		if n.out[biloxi]+n.out[chicago] != 0 {
			t.Error("pings to former targets are still out")
		}
	})
}

func TestTargetsAndPingsAreBounded(t *testing.T) {
	edit := func(c *watch.Config) { c.MaxTargets = 3 }
	targets := many(10, watch.Idle)
	targets["p009.example"] = watch.Busy
	run(t, targets, edit, func(n *world) {
		n.wait(time.Minute)
		if len(n.pings) != 3 || n.pings["p009.example"] == 0 || n.pings["p000.example"] == 0 || n.pings["p001.example"] == 0 {
			t.Errorf("pinged %v, want the busy one and the two first", n.pings)
		}
		// Pings to former targets that do not end take up the places.
		for d := range targets {
			n.set(ignores, d)
		}
		n.wait(time.Minute)
		n.with(func() { n.targets = map[string]watch.Rate{biloxi: watch.Busy} })
		n.wait(time.Minute)
		if n.most > 3 || n.pings[biloxi] != 0 {
			t.Errorf("%d pings out at once, %d to biloxi", n.most, n.pings[biloxi])
		}
	})
}

func TestRunEndsAndMayBeginAgain(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy, chicago: watch.Busy}, nil, func(n *world) {
		n.wait(time.Minute)
		if err := n.Run(context.Background()); !errors.Is(err, watch.ErrRunning) {
			t.Errorf("second Run: %v, want ErrRunning", err)
		}
		n.set(hangs, biloxi)
		n.wait(10 * time.Second)
		n.want("biloxi hangs", biloxi+" true")
		n.stop()
		if n.out[biloxi] != 0 {
			t.Error("a ping is out after Run")
		}
		n.wait(time.Hour)
		n.begin()
		n.wait(timeout)
		n.want("begun again") // nobody is blamed for the hour
		n.set(answers, biloxi)
		n.wait(10 * time.Second)
		n.want("biloxi answers", biloxi+" false")
	})
}

func TestConfigIsChecked(t *testing.T) {
	ping := func(context.Context, string) error { return nil }
	targets := func() map[string]watch.Rate { return nil }
	for name, c := range map[string]watch.Config{
		"no ping":                         {Targets: targets},
		"no targets":                      {Ping: ping},
		"no time for two pings":           {Ping: ping, Targets: targets, Interval: 460 * time.Millisecond},
		"a timeout that is too short":     {Ping: ping, Targets: targets, Timeout: 800 * time.Millisecond},
		"a negative interval":             {Ping: ping, Targets: targets, Interval: -1},
		"idle ones more often than busy":  {Ping: ping, Targets: targets, Idle: time.Millisecond},
		"a negative number of providers":  {Ping: ping, Targets: targets, MaxTargets: -1},
		"a timeout that is not a timeout": {Ping: ping, Targets: targets, Timeout: -time.Second},
	} {
		if _, err := watch.Open(c); !errors.Is(err, watch.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}
