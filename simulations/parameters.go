package simulations

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A Parameter is one key that a scenario may set.
type Parameter struct {
	Key     string // with dots between tables
	Type    string // bool, integer, number, text, duration
	Default string // as it is written in a file
	Doc     string
}

// strict decodes TOML into a struct and turns mistakes into sentences, with lines if it is as somebody wrote it.
func strict(data []byte, into any, named string, lines bool) error {
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	err := d.Decode(into)
	var missing *toml.StrictMissingError
	var wrong *toml.DecodeError
	at := func(line int) string {
		if !lines {
			return ""
		}
		return fmt.Sprintf(", line %d", line)
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing) && len(missing.Errors) > 0:
		first := missing.Errors[0]
		line, _ := first.Position()
		key := strings.Join(first.Key(), ".")
		return fmt.Errorf("%w %s%s: there is no key %q; %s", ErrScenario, named, at(line), key, allowed(into, first.Key()))
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		key := ""
		if k := strings.Join(wrong.Key(), "."); k != "" {
			key = fmt.Sprintf(" %q:", k)
		}
		if t := wanted(into, wrong.Key()); t != "" && strings.Contains(wrong.Error(), "cannot decode TOML") {
			return fmt.Errorf("%w %s%s:%s the value must be of type %s", ErrScenario, named, at(line), key, t)
		}
		return fmt.Errorf("%w %s%s:%s %s", ErrScenario, named, at(line), key, strings.TrimPrefix(wrong.Error(), "toml: "))
	default:
		return fmt.Errorf("%w %s: %s", ErrScenario, named, strings.TrimPrefix(err.Error(), "toml: "))
	}
}

// allowed lists the keys of the table in which an unknown key was found.
func allowed(into any, key []string) string {
	t := reflect.TypeOf(into).Elem()
	for _, name := range key[:len(key)-1] {
		f, ok := fieldOf(t, name)
		if !ok || f.Type.Kind() != reflect.Struct {
			break
		}
		t = f.Type
	}
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, keyOf(t.Field(i)))
	}
	slices.Sort(keys)
	return "here may be " + strings.Join(keys, ", ")
}

// wanted is the type of a key; empty if it is a table, or there is none.
func wanted(into any, key []string) string {
	t := reflect.TypeOf(into).Elem()
	for _, name := range key {
		f, ok := fieldOf(t, name)
		if t = f.Type; !ok {
			return ""
		}
		switch t.Kind() {
		case reflect.Struct:
		case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64, reflect.String:
			return typeOf(t)
		default:
			return ""
		}
	}
	return ""
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if keyOf(t.Field(i)) == key {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return name
}

// parametersOf walks a struct of parameters, whose values are the Defaults of what it returns.
func parametersOf(p any) []Parameter {
	var all []Parameter
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := prefix + keyOf(f)
			if f.Type.Kind() == reflect.Struct {
				walk(key+".", v.Field(i))
				continue
			}
			all = append(all, Parameter{key, typeOf(f.Type), valueOf(v.Field(i)), f.Tag.Get("doc")})
		}
	}
	walk("", reflect.ValueOf(p))
	return all
}

func typeOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.String:
		return "text"
	default:
		return "integer"
	}
}

func valueOf(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, _ := m.MarshalText() // a Duration has no error
		return fmt.Sprintf("%q", b)
	}
	if v.Kind() == reflect.String {
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}
