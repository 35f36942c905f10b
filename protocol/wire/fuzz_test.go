package wire_test

import (
	"bytes"
	"reflect"
	"runtime"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

func allTypes(reflect.Type) bool { return true }

// FuzzWire: the first byte chooses the parser. What parses, encodes to the
// same bytes; and whatever comes, memory is bounded by the input's size.
func FuzzWire(f *testing.F) {
	for _, k := range known {
		for i, c := range codecs {
			if c.name == k.codec {
				f.Add(append([]byte{byte(i)}, unhex(k.hex)...))
			}
		}
	}
	directory := byte(len(codecs))
	f.Add(append([]byte{directory}, `{"update":"https://a/{roomId}","proxyDownload":"https://a/v1?u={downloadUrl}&x"}`...))
	f.Add(append([]byte{directory}, `{"x":[{}],"update":"https://a/{roomId}","mimid":{"base":"https://a/v1","record":"AAAA"}}`...))
	lim := wire.Limits{Limits: mls.Limits{MessageSize: 1 << 16}}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		kind, in := in[0], in[1:]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		defer func() {
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+uint64(len(in))*2048 {
				t.Errorf("%d bytes of input took %d bytes of memory", len(in), n)
			}
		}()
		if kind == directory {
			d, err := wire.ParseDirectory(in, lim)
			if err != nil {
				return
			}
			b, err := d.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			again, err := wire.ParseDirectory(b, wire.Limits{DirectorySize: 1 << 20})
			if err != nil || *again != *d {
				t.Errorf("directory changed: %v\n%s", err, b)
			}
			return
		}
		if int(kind) > len(codecs) {
			return
		}
		c := codecs[kind]
		v, err := c.parse(in, lim)
		if err != nil {
			return
		}
		b, err := v.Bytes()
		if err != nil || !bytes.Equal(b, in) {
			t.Errorf("%s: read\n%x, wrote\n%x (%v)", c.name, in, b, err)
		}
	})
}
