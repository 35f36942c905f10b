package mls

import (
	"fmt"
	"maps"
	"slices"
)

// Application data in extensions, after draft-ietf-mls-extensions: a sorted
// list of components, changed in a GroupContext by AppDataUpdate proposals.

// ComponentID names an application component.
type ComponentID uint16

// ComponentLastResort marks a KeyPackage that may be used more than once; its
// data is empty.
const ComponentLastResort ComponentID = 4

// Dictionary is the content of the app_data_dictionary extension:
//
//	struct { ComponentID component_id; opaque data<V>; } ComponentData;
//	struct { ComponentData component_data<V>; } AppDataDictionary;
//
// Entries are sorted by id, one each; the encoding is canonical.
type Dictionary map[ComponentID][]byte

// Extension encodes the dictionary.
func (d Dictionary) Extension() Extension {
	return Extension{ExtAppDataDictionary, d.append(nil)}
}

func (d Dictionary) append(b []byte) []byte {
	return appendList(b, func(b []byte) []byte {
		for _, id := range slices.Sorted(maps.Keys(d)) {
			b = appendOpaque(appendU16(b, uint16(id)), d[id])
		}
		return b
	})
}

// Dictionary reads the list's app_data_dictionary; an absent one is empty.
func (e Extensions) Dictionary(lim Limits) (Dictionary, error) {
	d := Dictionary{}
	data, ok := e.Get(ExtAppDataDictionary)
	if !ok {
		return d, nil
	}
	err := parse(data, lim, "app_data_dictionary", func(r *reader) { d = readDictionary(r) })
	return d, err
}

func readDictionary(r *reader) Dictionary {
	d, last := Dictionary{}, -1
	r.List(r.lim.ListEntries, func() {
		id, data := ComponentID(r.U16()), r.Opaque()
		if r.Err() == nil && int(id) <= last {
			r.Fail(ErrNonCanonical, "component %#04x after %#04x", uint16(id), last)
		}
		d[id], last = data, int(id)
	})
	return d
}

// AppDataOperation says what an AppDataUpdate does.
type AppDataOperation uint8

// The operations of AppDataUpdate.
const (
	AppDataSet    AppDataOperation = 1 // "update": the component's logic makes new data of it
	AppDataRemove AppDataOperation = 2
)

// AppDataUpdate changes one component in the GroupContext's dictionary:
//
//	struct {
//	    ComponentID component_id;
//	    AppDataUpdateOperation op;  /* update(1), remove(2) */
//	    select (op) { case update: opaque update<V>; case remove: struct{}; };
//	} AppDataUpdate;
type AppDataUpdate struct {
	Component ComponentID
	Op        AppDataOperation
	Update    []byte
}

func (u *AppDataUpdate) read(r *reader) {
	u.Component = ComponentID(r.U16())
	switch u.Op = AppDataOperation(r.U8()); u.Op {
	case AppDataSet:
		u.Update = r.Opaque()
	case AppDataRemove:
	default:
		r.Fail(ErrMalformed, "AppDataUpdate operation %d", u.Op)
	}
}

func (u *AppDataUpdate) append(b []byte) []byte {
	b = append(appendU16(b, uint16(u.Component)), byte(u.Op))
	if u.Op == AppDataSet {
		b = appendOpaque(b, u.Update)
	}
	return b
}

// ComponentLogic makes a component's new data from its present data (nil where
// it has none) and the updates of one commit, in the commit's order. It must
// be pure: every member and server computes the same. An error makes the
// commit invalid.
type ComponentLogic func(id ComponentID, present []byte, updates [][]byte) ([]byte, error)

// applyAppData computes the dictionary after updates. A commit may hold for
// one component either one remove or any number of updates.
func applyAppData(d Dictionary, updates []*AppDataUpdate, logic ComponentLogic) error {
	sets := map[ComponentID][][]byte{}
	removes := map[ComponentID]bool{}
	for _, u := range updates {
		if u.Op == AppDataRemove {
			if removes[u.Component] {
				return fmt.Errorf("component %#04x removed twice: %w", uint16(u.Component), ErrProposalList)
			}
			removes[u.Component] = true
		} else {
			sets[u.Component] = append(sets[u.Component], u.Update)
		}
	}
	for id := range removes {
		if sets[id] != nil {
			return fmt.Errorf("component %#04x updated and removed: %w", uint16(id), ErrProposalList)
		}
		if _, ok := d[id]; !ok {
			return fmt.Errorf("removing absent component %#04x: %w", uint16(id), ErrBadProposal)
		}
		delete(d, id)
	}
	for _, id := range slices.Sorted(maps.Keys(sets)) {
		if logic == nil {
			d[id] = sets[id][len(sets[id])-1]
			continue
		}
		data, err := logic(id, d[id], sets[id])
		if err != nil {
			return fmt.Errorf("updating component %#04x: %w: %w", uint16(id), ErrBadProposal, err)
		}
		d[id] = data
	}
	return nil
}
