package client

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// Stock is how this user can be added to rooms by others, as the provider sees it from
// outside, and by what.
type Stock struct {
	// Level is the user's, with all devices: "fresh", "reserve" (some device by its last resort
	// only), "partly" (some device not at all), "none" (the user cannot be added), or empty: the
	// provider has not looked yet.
	Level string
	// Outside says whether strangers can claim KeyPackages at the provider at all, as another provider
	// has found out for it: "seen", "unseen" (nobody elsewhere can add any of its users), "unknown", or
	// empty: it does not say.
	Outside string
	// Available KeyPackages of this device are used once each. They end at Ends, zero if there
	// are none.
	Available int
	Ends      time.Time
	// LastResort says that there is one, which ends at LastResortEnds.
	LastResort     bool
	LastResortEnds time.Time
	// Usable says that this device has the private key to what others would get of it now.
	Usable bool
	// Devices are those of the user, this one too.
	Devices []DeviceStock
}

// DeviceStock is what there is of one device.
type DeviceStock struct {
	Name       string
	Available  int
	LastResort bool
}

// Stock asks the provider how this user can be added to rooms.
func (c *Client) Stock(ctx context.Context) (*Stock, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	n, all := new(clientapi.KeyPackageCount), new(clientapi.Devices)
	if err := api.call(ctx, "GET", "/v1/keypackages", nil, n); err != nil {
		return nil, fmt.Errorf("asking for the stock of KeyPackages: %w", err)
	}
	if err := api.call(ctx, "GET", "/v1/devices", nil, all); err != nil {
		return nil, fmt.Errorf("asking for the stock of KeyPackages: %w", err)
	}
	rec, err := c.packageOf(n.Next)
	if err != nil {
		return nil, err
	}
	s := &Stock{Level: n.Level, Outside: n.Outside, Available: n.Available, Ends: instant(n.Ends), LastResort: n.LastResort,
		LastResortEnds: instant(n.LastResortEnds), Usable: rec != nil}
	for _, d := range all.Devices {
		s.Devices = append(s.Devices, DeviceStock{d.Name, d.KeyPackages, d.LastResort})
	}
	return s, nil
}

func instant(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// stocked takes the provider's word that this user cannot be added as it should be. If there is
// nothing of this device it brings KeyPackages at once; if it is only that those are used up
// which are used once, at the next look as always, see packageCheck.
func (c *Client) stocked(data []byte) error {
	v := new(clientapi.Stock)
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	if v.Outside != "" {
		c.emit(ProviderSeen{Outside: v.Outside})
	}
	c.level(v.Level)
	if !slices.Contains(v.Dry, c.me.client.String()) {
		return nil
	}
	now := c.cfg.Now()
	c.packages.dry = true
	if !c.packages.busy && c.packages.at.After(now) {
		c.packages.at = now
	}
	return nil
}

// level tells the application when it has become another.
func (c *Client) level(level string) {
	if level == "" || level == c.packages.level {
		return
	}
	was := c.packages.level
	c.packages.level = level
	if was != "" || level != "fresh" {
		c.emit(StockChanged{Level: level})
	}
}
