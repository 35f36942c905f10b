package simulations

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Saved is a directory that Save wrote.
type Saved struct {
	Summary  Summary // with Groups, their Values too
	Graph    *Graph
	Scenario string // the file's text
}

// Load reads a directory. Groups are made of results.csv again.
func Load(dir string) (*Saved, error) {
	s := &Saved{}
	text, err := os.ReadFile(filepath.Join(dir, "scenario.toml"))
	if err != nil {
		return nil, err
	}
	s.Scenario = string(text)
	if err := readJSON(filepath.Join(dir, "summary.json"), &s.Summary); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(dir, "network.json"), &s.Graph); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, "results.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	outcomes, err := readCSV(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	s.Summary.Groups = (&Result{Outcomes: outcomes}).Groups()
	return s, nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// readCSV reads what WriteCSV wrote: an Outcome for each stretch of rows with one seed.
func readCSV(r io.Reader) ([]Outcome, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	row, err := c.Read()
	if err != nil {
		return nil, err
	}
	const fixed = 4
	if len(row) < fixed || row[0] != "seed" || row[1] != "metric" || row[2] != "unit" || row[3] != "value" {
		return nil, errors.New("the first line is not seed,metric,unit,value and labels")
	}
	var keys []string
	keys = append(keys, row[fixed:]...)
	var all []Outcome
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		seed, err := strconv.ParseUint(row[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: seed: %w", line, err)
		}
		value, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: value: %w", line, err)
		}
		o := Observation{Metric: row[1], Unit: row[2], Value: value}
		for i, k := range keys {
			if v := row[fixed+i]; v != "" {
				o.Labels = append(o.Labels, Label{k, v})
			}
		}
		if len(all) == 0 || all[len(all)-1].Seed != seed {
			all = append(all, Outcome{Seed: seed})
		}
		last := &all[len(all)-1]
		last.Observations = append(last.Observations, o)
	}
}
