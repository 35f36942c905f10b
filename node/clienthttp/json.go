package clienthttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// jsonFormat is huma's, but strict: fields that a body must not have are refused while
// it is decoded. Calls that are marked hot rest on it alone. For them huma would
// decode the body twice, into a map for its schema and then into the type, which was
// a fifth of what a message cost its hub.
var jsonFormat = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: strictJSON}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading JSON: more than one value")
	}
	return nil
}

// jsonOnly refuses other content types, which huma does where it validates.
func jsonOnly(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		t, _, err := mime.ParseMediaType(ctx.Header("Content-Type"))
		if ctx.Header("Content-Type") != "" && (err != nil || t != "application/json") {
			huma.WriteErr(api, ctx, http.StatusUnsupportedMediaType, fmt.Sprintf("content type %.80q: it is application/json", ctx.Header("Content-Type")))
			return
		}
		next(ctx)
	}
}
