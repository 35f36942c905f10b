package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		for d := range many(20, watch.Idle) {
			n.set(hangs, d)
		}
		n.wait(idle + timeout)
		if got := len(n.log()); got != 20 {
			t.Errorf("%d of 20 found dead", got)
		}
	})
	// From the first ping on, it has as long as a busy one.
	for _, m := range []manner{refuses, hangs, ignores} {
		run(t, map[string]watch.Rate{biloxi: watch.Idle}, nil, func(n *world) {
			n.wait(time.Minute)
			n.set(m, biloxi)
			for before := n.pinged(biloxi); n.pinged(biloxi) == before; n.wait(time.Millisecond) {
			}
			asked := n.since()
			n.wait(timeout)
			got := n.log()
			if len(got) != 1 {
				t.Fatalf("changes %v, want one death", got)
			}
			if took := got[0].at - asked; took < timeout-interval-grain || took > timeout-interval+grain {
				t.Errorf("dead %v after the first ping, want %v", took, timeout-interval)
			}
		})
	}
}

func TestAProviderThatBecomesBusyIsAskedSoon(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Idle}, nil, func(n *world) {
		n.wait(time.Minute)
		for before := n.pinged(biloxi); n.pinged(biloxi) == before; n.wait(grain) { // just after a ping: the worst moment
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
		n.wait(3*timeout + interval/2)
		n.want("refuses", biloxi+" true")
		before := n.pinged(biloxi)
		n.wait(idle)
		if got := n.pinged(biloxi) - before; got < 3 || got > 5 {
			t.Errorf("%d pings in the first idle interval after death, want 3 to 5: a short failure should be short", got)
		}
		n.wait(time.Minute)
		before = n.pinged(biloxi)
		n.wait(100 * idle)
		if got := n.pinged(biloxi) - before; got < 100 || got > 126 {
			t.Errorf("%d pings in 100 idle intervals, want 100 to 125", got)
		}
	})
}

func TestWhoIsHeardIsAliveAndNotPinged(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.wait(2 * time.Second)
		n.set(refuses, biloxi) // one way only
		before := n.pinged(biloxi)
		for range 400 {
			n.Heard(biloxi)
			n.wait(interval / 2)
		}
		n.want("heard all the time")
		if got := n.pinged(biloxi) - before; got > 0 {
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
		before := n.pinged("p150.example")
		n.wait(time.Minute)
		if got := len(n.log()); got != 299 || n.Dead("p150.example") {
			t.Errorf("%d deaths among 299", got)
		}
		if got := n.pinged("p150.example") - before; got < 148 || got > 188 {
			t.Errorf("%d pings in a minute to the one that answers, want about 165", got)
		}
		if n.peak() > 300 {
			t.Errorf("%d pings out at once for 300 providers", n.peak())
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

// TestABusyMachineFindsTheDead: the loop is late by 300 ms again and again. A provider that
// answers stays alive; one that does not is dead within some seconds, and not only when
// the machine has time again. After a long standstill everybody gets new time.
func TestABusyMachineFindsTheDead(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy, chicago: watch.Busy}, nil, func(n *world) {
		n.wait(2 * time.Second)
		busy := func(d time.Duration) {
			for end := n.since() + d; n.since() < end; {
				n.wait(350 * time.Millisecond)
				n.with(func() { n.leap += 300 * time.Millisecond })
			}
		}
		busy(time.Minute)
		n.want("while both answer")
		if s := n.Stats(); s.Suspended < 50 {
			t.Fatalf("it stood still %d times", s.Suspended)
		}
		n.set(hangs, biloxi)
		dies := n.since()
		busy(20 * time.Second)
		log := n.log()
		if len(log) != 1 || log[0].domain != biloxi || log[0].at-dies > 4*time.Second {
			t.Errorf("dead %v, biloxi since %s", log, dies)
			return
		}
		// What counts is the silence: when it is back, and dies again, it gets new time again.
		n.set(answers, biloxi)
		busy(10 * time.Second)
		n.want("it is back", "biloxi.example false")
		n.with(func() { n.leap += time.Hour })
		busy(20 * time.Second)
		n.want("after an hour in which this process was stopped")
	})
}

// TestNewTimeOnceInASilence: a short standstill gives a provider new time once in a silence,
// and again when it was heard; a long one always does.
func TestNewTimeOnceInASilence(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		stand := func(d time.Duration) { n.with(func() { n.leap += d }) }
		n.wait(10 * time.Second)
		for range 3 { // each silence anew
			n.set(refuses, biloxi)
			n.wait(timeout / 2)
			stand(timeout * 9 / 10)
			n.wait(timeout * 3 / 2)
			n.want("after a short standstill in a silence")
			stand(time.Minute)
			n.wait(timeout * 3 / 2)
			n.want("after a long one in the same silence")
			n.set(answers, biloxi)
			n.wait(10 * time.Second)
			n.want("it answers")
		}
		if s := n.Stats(); s.Suspended != 6 {
			t.Errorf("suspended %d times", s.Suspended)
		}
	})
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
		n.with(func() { n.targets = map[string]watch.Rate{biloxi: watch.Busy, chicago: watch.Busy} })
		for n.outTo(biloxi) == 0 {
			n.wait(grain)
		}
		if s := n.Stats(); s.Targets != 2 || s.Dead != 1 {
			t.Errorf("counted %+v", s)
		}
		n.with(func() { n.targets = nil })
		n.wait(interval + grain) // its ping would have gone on for longer
		if n.outTo(biloxi) != 0 {
			t.Error("the ping to a former target goes on")
		}
		n.wait(10 * time.Second)
		n.want("nobody left")
		if s := n.Stats(); s.Targets != 0 || s.Dead != 0 {
			t.Errorf("counted %+v", s)
		}
		if n.outTo(biloxi)+n.outTo(chicago) != 0 {
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
		if n.pingedAtAll() != 3 || n.pinged("p009.example") == 0 || n.pinged("p000.example") == 0 || n.pinged("p001.example") == 0 {
			t.Errorf("pinged %d providers, want the busy one and the two first", n.pingedAtAll())
		}
		// Pings to former targets that do not end take up the places.
		for d := range targets {
			n.set(ignores, d)
		}
		n.wait(time.Minute)
		n.with(func() { n.targets = map[string]watch.Rate{biloxi: watch.Busy} })
		n.wait(time.Minute)
		if n.peak() > 3 || n.pinged(biloxi) != 0 {
			t.Errorf("%d pings out at once, %d to biloxi", n.peak(), n.pinged(biloxi))
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
		if n.outTo(biloxi) != 0 {
			t.Error("a ping is out after Run")
		}
		n.wait(time.Hour)
		n.begin()
		n.wait(timeout)
		n.want("begun again") // nobody is blamed for the hour
		n.set(answers, biloxi)
		n.wait(10 * time.Second)
		n.want("biloxi answers", biloxi+" false")

		// Stopped just before a death, with a ping out that takes its time to end.
		n.set(lingers, chicago)
		for before := n.pinged(chicago); n.pinged(chicago) < before+2; n.wait(grain) {
		}
		n.stop()
		if n.outTo(chicago) != 0 {
			t.Error("a ping is out after Run")
		}
		n.set(answers, chicago)
		n.wait(time.Hour)
		n.begin()
		n.wait(time.Minute)
		n.want("begun once more")
	})
}

func TestPingsAreEven(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.wait(time.Minute)
		var times []time.Duration
		n.with(func() { times = slices.Clone(n.times) })
		for i := 1; i < len(times); i++ {
			if gap := times[i] - times[i-1]; gap < interval*4/5 || gap > interval+2*time.Millisecond {
				t.Fatalf("%v between two pings, want %v to %v", gap, interval*4/5, interval)
			}
		}
	})
}

// One who was heard while the first connection was being made, and then not any
// more, is pinged anew: that ping may have been lost.
func TestAPingFromBeforeASignOfLifeIsEnded(t *testing.T) {
	run(t, map[string]watch.Rate{biloxi: watch.Busy}, nil, func(n *world) {
		n.set(hangs, biloxi)
		for n.outTo(biloxi) == 0 {
			n.wait(grain)
		}
		n.Heard(biloxi)
		n.set(answers, biloxi)
		n.wait(time.Minute)
		n.want("answers the second ping")
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
