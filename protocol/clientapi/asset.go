package clientapi

// Headers and the media type of PATCH /v1/assets/{hash}, as in tus 1.0.
const (
	HeaderUploadOffset = "Upload-Offset"
	TypeUpload         = "application/offset+octet-stream"
)

// NewAsset begins the upload of an asset, or goes on with it.
type NewAsset struct {
	Hash string `json:"hash" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the octets that come, hexadecimal"`
	Size int64  `json:"size" minimum:"1" doc:"How many octets"`
}

// Asset is what a user keeps at its provider, or uploads.
type Asset struct {
	Hash     string `json:"hash" doc:"SHA-256 of its octets, hexadecimal"`
	Size     int64  `json:"size" doc:"How many octets"`
	Offset   int64  `json:"offset" doc:"How many of them are there for good"`
	Complete bool   `json:"complete" doc:"Whether all are there and have the hash"`
	URL      string `json:"url,omitempty" doc:"Where others fetch it, once it is complete"`
	// Expires is when the provider deletes it, Unix milliseconds; 0 for never. That
	// of an upload is when it is given up, if nothing comes.
	Expires int64 `json:"expires,omitempty" doc:"When it is deleted, Unix milliseconds; missing for never"`
}

// Assets lists what a user keeps, and how much that is.
type Assets struct {
	Assets []Asset `json:"assets"`
	Used   int64   `json:"used" doc:"Octets, with those that are still to come"`
	Quota  int64   `json:"quota" doc:"How many there may be"`
	Most   int64   `json:"most" doc:"How many one asset may have"`
}
