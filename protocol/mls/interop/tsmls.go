// Package interop runs our MLS engine against implementations written by
// others. It is a module of its own, so that what it needs stays out of the
// product.
//
// Two peers are here. [Driver] speaks to a Node process (driver.mjs) around
// ts-mls 1.6.4, an independent RFC 9420 implementation in TypeScript; its
// operations and the places where that library departs from the RFC are listed
// at the top of driver.mjs. [MLSGoMember] wraps mls-go 1.6.0 in this process.
//
// Everything that crosses is the wire form: complete MLSMessage encodings, and
// the bytes of the ratchet_tree extension for trees.
//
// Before the first run: npm ci --ignore-scripts --no-audit --no-fund
package interop

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// ErrUnavailable says that the Node process cannot be had on this machine:
// there is no node, or the packages are not installed.
var ErrUnavailable = errors.New("interop: ts-mls driver unavailable")

// DefaultTimeout is the limit of one call whose context has no deadline.
const DefaultTimeout = 30 * time.Second

// PeerError is a refusal by the driver or the library behind it. The process
// lives on and its state is unchanged.
type PeerError struct {
	Op   string // operation asked for
	Text string // name and text of the error over there
}

func (e *PeerError) Error() string { return "ts-mls " + e.Op + ": " + e.Text }

// Bytes is a byte string that is hex in JSON.
type Bytes []byte

// MarshalJSON writes b as a hex string.
func (b Bytes) MarshalJSON() ([]byte, error) {
	return json.Marshal(hex.EncodeToString(b))
}

// UnmarshalJSON reads a hex string.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	v, err := hex.DecodeString(s)
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// Driver is one Node process. Its methods may be called from any goroutine;
// calls are made one after another.
type Driver struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte
	cancel context.CancelFunc

	mu     sync.Mutex
	nextID uint64
	broken error // set once the stream can no longer be trusted

	stderrMu sync.Mutex
	stderr   strings.Builder

	closeOnce sync.Once
	closeErr  error
}

// driverDir finds the folder of driver.mjs.
func driverDir() (string, error) {
	var tried []string
	if wd, err := os.Getwd(); err == nil {
		tried = append(tried, wd, filepath.Dir(wd))
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		tried = append(tried, filepath.Dir(file))
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "driver.mjs")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: driver.mjs not found", ErrUnavailable)
}

// StartDriver starts the Node process. It ends when ctx does, or at Close. The
// error is [ErrUnavailable] if node or the packages are absent.
func StartDriver(ctx context.Context) (*Driver, error) {
	dir, err := driverDir()
	if err != nil {
		return nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: no node in PATH", ErrUnavailable)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "ts-mls", "package.json")); err != nil {
		return nil, fmt.Errorf("%w: node_modules absent, run npm ci in the interop folder", ErrUnavailable)
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, node, "driver.mjs")
	cmd.Dir = dir
	cmd.WaitDelay = 2 * time.Second
	d := &Driver{cmd: cmd, lines: make(chan []byte), cancel: cancel}
	cmd.Stderr = stderrWriter{d}
	fail := func(err error) (*Driver, error) {
		cancel()
		return nil, fmt.Errorf("interop: starting the driver: %w", err)
	}
	if d.stdin, err = cmd.StdinPipe(); err != nil {
		return fail(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	go func() {
		defer close(d.lines)
		r := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case d.lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	if _, err := d.Version(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// stderrWriter keeps the first bytes the process writes to its error stream.
type stderrWriter struct{ d *Driver }

func (w stderrWriter) Write(p []byte) (int, error) {
	w.d.stderrMu.Lock()
	defer w.d.stderrMu.Unlock()
	if w.d.stderr.Len() < 16<<10 {
		w.d.stderr.Write(p)
	}
	return len(p), nil
}

// Close kills the process and waits for it. It may be called more than once.
func (d *Driver) Close() error {
	d.closeOnce.Do(func() {
		_ = d.stdin.Close()
		d.cancel()
		err := d.cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, context.Canceled) && !errors.Is(err, exec.ErrWaitDelay) {
			d.closeErr = err
		}
	})
	return d.closeErr
}

// Call sends one operation and decodes the answer into out, which may be nil.
// params is a struct or map that encodes as a JSON object. It is for what the
// typed methods do not offer.
func (d *Driver) Call(ctx context.Context, op string, params, out any) error {
	object := map[string]json.RawMessage{}
	if params != nil {
		raw, err := json.Marshal(params)
		if err != nil {
			return fmt.Errorf("interop: %s: %w", op, err)
		}
		if err := json.Unmarshal(raw, &object); err != nil {
			return fmt.Errorf("interop: %s: parameters are not an object: %w", op, err)
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	d.nextID++
	id := d.nextID
	object["id"], _ = json.Marshal(id)
	object["op"], _ = json.Marshal(op)
	line, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("interop: %s: %w", op, err)
	}

	written := make(chan error, 1)
	go func() {
		_, err := d.stdin.Write(append(line, '\n'))
		written <- err
	}()
	breakOff := func(err error) error {
		d.stderrMu.Lock()
		defer d.stderrMu.Unlock()
		d.broken = fmt.Errorf("interop: %s: %w", op, err)
		if d.stderr.Len() > 0 {
			d.broken = fmt.Errorf("%w; error stream: %s", d.broken, d.stderr.String())
		}
		d.cancel() // the stream is out of step, so the process is of no more use
		return d.broken
	}
	for {
		select {
		case err := <-written:
			if err != nil {
				return breakOff(err)
			}
			written = nil
		case answer, ok := <-d.lines:
			if !ok {
				return breakOff(io.ErrUnexpectedEOF)
			}
			var head struct {
				ID    uint64 `json:"id"`
				OK    bool   `json:"ok"`
				Error string `json:"error"`
			}
			if err := json.Unmarshal(answer, &head); err != nil {
				return breakOff(err)
			}
			if head.ID != id {
				return breakOff(fmt.Errorf("answer %d to request %d", head.ID, id))
			}
			if !head.OK {
				return &PeerError{Op: op, Text: head.Error}
			}
			if out == nil {
				return nil
			}
			if err := json.Unmarshal(answer, out); err != nil {
				return fmt.Errorf("interop: %s: answer: %w", op, err)
			}
			return nil
		case <-ctx.Done():
			return breakOff(ctx.Err())
		}
	}
}

// VersionInfo names the implementation behind the driver.
type VersionInfo struct {
	Implementation string `json:"implementation"`
	Version        string `json:"version"`
	Node           string `json:"node"`
}

// Version asks what is running.
func (d *Driver) Version(ctx context.Context) (VersionInfo, error) {
	var v VersionInfo
	err := d.Call(ctx, "version", nil, &v)
	return v, err
}

// Config holds settings for groups made or joined after the call. Nil fields
// stay as they are.
type Config struct {
	PadUntil          *int  `json:"padUntil,omitempty"`          // padding target in octets
	RetainEpochs      *int  `json:"retainEpochs,omitempty"`      // past epochs kept
	RetainGenerations *int  `json:"retainGenerations,omitempty"` // skipped message keys kept
	MaxForward        *int  `json:"maxForward,omitempty"`        // furthest generation ahead
	ValidateLifetime  *bool `json:"validateLifetime,omitempty"`  // check received lifetimes
}

// Configure changes settings.
func (d *Driver) Configure(ctx context.Context, c Config) error {
	return d.Call(ctx, "config", c, nil)
}

// Extension is one extension, of any type.
type Extension struct {
	Type uint16 `json:"type"`
	Data Bytes  `json:"data"`
}

// Lifetime is the lifetime of a KeyPackage in seconds since 1970.
type Lifetime struct {
	NotBefore uint64 `json:"notBefore"`
	NotAfter  uint64 `json:"notAfter"`
}

// LeafOptions say what a leaf made by the driver claims. The zero value means:
// suites 1 to 3, basic credentials, no further types, 28 days from now.
type LeafOptions struct {
	ExtensionTypes    []uint16    `json:"extensionTypes,omitempty"`
	ProposalTypes     []uint16    `json:"proposalTypes,omitempty"`
	CredentialTypes   []uint16    `json:"credentialTypes,omitempty"`
	Suites            []uint16    `json:"suites,omitempty"`
	Lifetime          *Lifetime   `json:"lifetime,omitempty"`
	LeafExtensions    []Extension `json:"leafExtensions,omitempty"`
	FreshSignatureKey bool        `json:"freshSignatureKey,omitempty"`
	Library           bool        `json:"library,omitempty"` // the library's own defaults and deviations
}

// KeyPackageRequest asks for a KeyPackage.
type KeyPackageRequest struct {
	Client     string      `json:"client"`
	Suite      uint16      `json:"suite"`
	Identity   Bytes       `json:"identity"`
	LastResort bool        `json:"lastResort,omitempty"`
	Extensions []Extension `json:"extensions,omitempty"` // of the KeyPackage, not the leaf
	LeafOptions
}

// KeyPackage is a KeyPackage whose private part the driver keeps.
type KeyPackage struct {
	Message      Bytes `json:"keyPackage"` // MLSMessage
	Ref          Bytes `json:"ref"`        // KeyPackageRef
	LeafKey      Bytes `json:"leafKey"`
	InitKey      Bytes `json:"initKey"`
	SignatureKey Bytes `json:"signatureKey"`
}

// KeyPackage makes a KeyPackage.
func (d *Driver) KeyPackage(ctx context.Context, r KeyPackageRequest) (KeyPackage, error) {
	var out KeyPackage
	err := d.Call(ctx, "keyPackage", r, &out)
	return out, err
}

// SignatureKey gives the public signature key of a client in a suite.
func (d *Driver) SignatureKey(ctx context.Context, client string, suite uint16) ([]byte, error) {
	var out struct {
		Public Bytes `json:"public"`
	}
	err := d.Call(ctx, "signatureKey", map[string]any{"client": client, "suite": suite}, &out)
	return out.Public, err
}

// AddPSK gives a client an external PSK.
func (d *Driver) AddPSK(ctx context.Context, client string, id, secret []byte) error {
	return d.Call(ctx, "addPsk", map[string]any{"client": client, "pskId": Bytes(id), "secret": Bytes(secret)}, nil)
}

// RequiredCapabilities builds that extension.
func (d *Driver) RequiredCapabilities(ctx context.Context, extensions, proposals, credentials []uint16) (Extension, error) {
	var out Extension
	err := d.Call(ctx, "encodeExtension", map[string]any{"requiredCapabilities": map[string]any{
		"extensionTypes": nonNil(extensions), "proposalTypes": nonNil(proposals), "credentialTypes": nonNil(credentials),
	}}, &out)
	return out, err
}

// ExternalSender is an entry of the external_senders extension.
type ExternalSender struct {
	SignatureKey Bytes `json:"signatureKey"`
	Identity     Bytes `json:"identity"` // of a basic credential
}

// ExternalSenders builds that extension in the form of RFC 9420.
func (d *Driver) ExternalSenders(ctx context.Context, senders ...ExternalSender) (Extension, error) {
	var out Extension
	err := d.Call(ctx, "encodeExtension", map[string]any{"externalSenders": senders}, &out)
	return out, err
}

// CreateGroupRequest asks for a new group with one member.
type CreateGroupRequest struct {
	Client     string      `json:"client"`
	Group      string      `json:"group"` // new handle
	Suite      uint16      `json:"suite"`
	GroupID    Bytes       `json:"groupId"`
	Identity   Bytes       `json:"identity"`
	Extensions []Extension `json:"extensions,omitempty"` // of the GroupContext
	LeafOptions
}

// CreateGroup makes a group at epoch 0.
func (d *Driver) CreateGroup(ctx context.Context, r CreateGroupRequest) error {
	return d.Call(ctx, "createGroup", r, nil)
}

// PSK names a PSK: an external one by ID, else the resumption PSK of Epoch.
type PSK struct {
	ID      Bytes   `json:"id,omitempty"`
	Epoch   *uint64 `json:"epoch,omitempty"`
	GroupID Bytes   `json:"groupId,omitempty"` // default: the group itself
	Usage   string  `json:"usage,omitempty"`   // default: application
	Nonce   Bytes   `json:"nonce,omitempty"`   // default: random
}

// ReInit is the content of a ReInit proposal.
type ReInit struct {
	GroupID    Bytes       `json:"groupId"`
	Suite      uint16      `json:"suite"`
	Extensions []Extension `json:"extensions,omitempty"`
}

// CustomProposal is a proposal of an unknown type whose body is one opaque<V>.
type CustomProposal struct {
	Type uint16 `json:"type"`
	Data Bytes  `json:"data"`
}

// Proposal has exactly one field set.
type Proposal struct {
	Add                    Bytes           `json:"add,omitempty"`    // KeyPackage message
	Update                 bool            `json:"update,omitempty"` // not inside a commit
	Remove                 *uint32         `json:"remove,omitempty"`
	PSK                    *PSK            `json:"psk,omitempty"`
	GroupContextExtensions *[]Extension    `json:"groupContextExtensions,omitempty"`
	ReInit                 *ReInit         `json:"reInit,omitempty"`
	Custom                 *CustomProposal `json:"custom,omitempty"`
}

// CommitRequest asks for a commit. Pending proposals are always included by
// reference; Proposals are included by value.
type CommitRequest struct {
	Group             string      `json:"group"`
	Proposals         []Proposal  `json:"proposals,omitempty"`
	Private           bool        `json:"-"` // PrivateMessage instead of PublicMessage
	NoRatchetTree     bool        `json:"-"` // leave the tree out of the Welcome
	AuthenticatedData Bytes       `json:"authenticatedData,omitempty"`
	WelcomeExtensions []Extension `json:"welcomeExtensions,omitempty"`
	Stage             bool        `json:"stage,omitempty"`     // do not apply yet
	GroupInfo         bool        `json:"groupInfo,omitempty"` // of the new epoch, with tree
}

// Commit is a commit and what belongs to it.
type Commit struct {
	Message   Bytes  `json:"commit"`
	Welcome   Bytes  `json:"welcome"`   // nil if nobody was added
	GroupInfo Bytes  `json:"groupInfo"` // if asked for
	Epoch     uint64 `json:"epoch"`     // the new one
}

// Commit makes a commit and, without Stage, applies it.
func (d *Driver) Commit(ctx context.Context, r CommitRequest) (Commit, error) {
	var out Commit
	err := d.Call(ctx, "commit", struct {
		CommitRequest
		PublicMessage        bool `json:"publicMessage"`
		RatchetTreeExtension bool `json:"ratchetTreeExtension"`
	}{r, !r.Private, !r.NoRatchetTree}, &out)
	return out, err
}

// ApplyCommit moves to the state of the staged commit.
func (d *Driver) ApplyCommit(ctx context.Context, group string) error {
	return d.onGroup(ctx, "applyCommit", group)
}

// DiscardCommit forgets the staged commit.
func (d *Driver) DiscardCommit(ctx context.Context, group string) error {
	return d.onGroup(ctx, "discardCommit", group)
}

// ClearProposals forgets all pending proposals.
func (d *Driver) ClearProposals(ctx context.Context, group string) error {
	return d.onGroup(ctx, "clearProposals", group)
}

// Drop forgets a group state.
func (d *Driver) Drop(ctx context.Context, group string) error {
	return d.onGroup(ctx, "drop", group)
}

// Fork copies a group state under another handle.
func (d *Driver) Fork(ctx context.Context, group, to string) error {
	return d.Call(ctx, "fork", map[string]any{"group": group, "to": to}, nil)
}

func (d *Driver) onGroup(ctx context.Context, op, group string) error {
	return d.Call(ctx, op, map[string]any{"group": group}, nil)
}

// ProposeRequest asks for a proposal message of a member.
type ProposeRequest struct {
	Group             string `json:"group"`
	Private           bool   `json:"-"`
	AuthenticatedData Bytes  `json:"authenticatedData,omitempty"`
	Proposal
}

// Propose makes a proposal message and keeps the proposal as pending.
func (d *Driver) Propose(ctx context.Context, r ProposeRequest) ([]byte, error) {
	return d.message(ctx, "propose", struct {
		ProposeRequest
		PublicMessage bool `json:"publicMessage"`
	}{r, !r.Private})
}

func (d *Driver) message(ctx context.Context, op string, params any) ([]byte, error) {
	var out struct {
		Message Bytes `json:"message"`
	}
	err := d.Call(ctx, op, params, &out)
	return out.Message, err
}

// Sender is the sender of a framed message.
type Sender struct {
	Type  string `json:"type"`  // member, external, new_member_proposal, new_member_commit
	Leaf  uint32 `json:"leaf"`  // of a member
	Index uint32 `json:"index"` // of an external sender
}

// Processed is the outcome of a received message.
type Processed struct {
	Kind      string            `json:"kind"` // application, proposal or commit
	Data      Bytes             `json:"data"` // of an application message
	Epoch     uint64            `json:"epoch"`
	Sender    Sender            `json:"sender"`
	AAD       Bytes             `json:"aad"`
	Proposals []json.RawMessage `json:"proposals"` // type names, or numbers of unknown types
	Removed   bool              `json:"removed"`   // this member is out
}

// Process handles a PublicMessage or PrivateMessage of others.
func (d *Driver) Process(ctx context.Context, group string, message []byte) (Processed, error) {
	var out Processed
	err := d.Call(ctx, "process", map[string]any{"group": group, "message": Bytes(message)}, &out)
	return out, err
}

// Inspection is what can be seen of a message without any key.
type Inspection struct {
	WireFormat  string            `json:"wireFormat"`
	ContentType string            `json:"contentType"`
	Epoch       uint64            `json:"epoch"`
	GroupID     Bytes             `json:"groupId"`
	AAD         Bytes             `json:"aad"`
	Sender      *Sender           `json:"sender"`
	HasPath     *bool             `json:"hasPath"`
	Proposals   []json.RawMessage `json:"proposals"` // type names, numbers, or "ref"
}

// Inspect decodes any MLSMessage.
func (d *Driver) Inspect(ctx context.Context, message []byte) (Inspection, error) {
	var out Inspection
	err := d.Call(ctx, "inspect", map[string]any{"message": Bytes(message)}, &out)
	return out, err
}

// Encrypt makes an application message.
func (d *Driver) Encrypt(ctx context.Context, group string, data, aad []byte) ([]byte, error) {
	return d.message(ctx, "encrypt", map[string]any{"group": group, "data": Bytes(data), "aad": Bytes(aad)})
}

// GroupInfoRequest asks for a GroupInfo.
type GroupInfoRequest struct {
	Group         string      `json:"group"`
	WithTree      bool        `json:"withTree"`
	NoExternalPub bool        `json:"-"`
	Extensions    []Extension `json:"extensions,omitempty"`
	Library       bool        `json:"library,omitempty"` // external_pub as the library writes it
}

// GroupInfo makes a signed GroupInfo message of the current epoch.
func (d *Driver) GroupInfo(ctx context.Context, r GroupInfoRequest) ([]byte, error) {
	var out struct {
		GroupInfo Bytes `json:"groupInfo"`
	}
	err := d.Call(ctx, "groupInfo", struct {
		GroupInfoRequest
		WithExternalPub bool `json:"withExternalPub"`
	}{r, !r.NoExternalPub}, &out)
	return out.GroupInfo, err
}

// RatchetTree gives the ratchet_tree extension's bytes.
func (d *Driver) RatchetTree(ctx context.Context, group string) ([]byte, error) {
	var out struct {
		RatchetTree Bytes `json:"ratchetTree"`
	}
	err := d.Call(ctx, "ratchetTree", map[string]any{"group": group}, &out)
	return out.RatchetTree, err
}

// JoinRequest asks to join by a Welcome for a KeyPackage made before.
type JoinRequest struct {
	Client      string `json:"client"`
	Group       string `json:"group"` // new handle
	Welcome     Bytes  `json:"welcome"`
	RatchetTree Bytes  `json:"ratchetTree,omitempty"` // if not in the Welcome
	ResumeGroup string `json:"resumeGroup,omitempty"` // handle of the old group
}

// Joined describes a fresh membership.
type Joined struct {
	Commit              Bytes       `json:"commit"` // of an external join only
	Epoch               uint64      `json:"epoch"`
	OwnLeaf             uint32      `json:"ownLeaf"`
	GroupInfoExtensions []Extension `json:"groupInfoExtensions"` // of a Welcome only
}

// JoinWelcome joins by a Welcome.
func (d *Driver) JoinWelcome(ctx context.Context, r JoinRequest) (Joined, error) {
	var out Joined
	err := d.Call(ctx, "joinWelcome", r, &out)
	return out, err
}

// ExternalJoinRequest asks to join by an external commit. With Resync the leaf
// having the client's signature key is removed by the same commit.
type ExternalJoinRequest struct {
	Client            string `json:"client"`
	Group             string `json:"group"` // new handle
	Identity          Bytes  `json:"identity"`
	GroupInfo         Bytes  `json:"groupInfo"`
	RatchetTree       Bytes  `json:"ratchetTree,omitempty"`
	Resync            bool   `json:"resync,omitempty"`
	AuthenticatedData Bytes  `json:"authenticatedData,omitempty"`
	LeafOptions
}

// ExternalJoin joins by an external commit, which is in Joined.Commit.
func (d *Driver) ExternalJoin(ctx context.Context, r ExternalJoinRequest) (Joined, error) {
	var out Joined
	err := d.Call(ctx, "externalJoin", r, &out)
	return out, err
}

// NewMemberPropose makes an Add proposal sent by the one to be added. keyPackage
// is a message made for this client before.
func (d *Driver) NewMemberPropose(ctx context.Context, client string, keyPackage, groupInfo []byte) ([]byte, error) {
	return d.message(ctx, "newMemberPropose", map[string]any{
		"client": client, "keyPackage": Bytes(keyPackage), "groupInfo": Bytes(groupInfo),
	})
}

// ExternalProposeRequest asks for a proposal of an external sender.
type ExternalProposeRequest struct {
	Client            string `json:"client"` // whose signature key is used
	GroupInfo         Bytes  `json:"groupInfo"`
	SenderIndex       uint32 `json:"senderIndex"`
	AuthenticatedData Bytes  `json:"authenticatedData,omitempty"`
	Proposal
}

// ExternalPropose makes a proposal message of an external sender.
func (d *Driver) ExternalPropose(ctx context.Context, r ExternalProposeRequest) ([]byte, error) {
	return d.message(ctx, "externalPropose", r)
}

// Export runs the MLS exporter.
func (d *Driver) Export(ctx context.Context, group, label string, context []byte, length int) ([]byte, error) {
	var out struct {
		Secret Bytes `json:"secret"`
	}
	err := d.Call(ctx, "export", map[string]any{
		"group": group, "label": label, "context": Bytes(context), "length": length,
	}, &out)
	return out.Secret, err
}

// Member is one occupied leaf.
type Member struct {
	Leaf          uint32 `json:"leaf"`
	Identity      Bytes  `json:"identity"`
	SignatureKey  Bytes  `json:"signatureKey"`
	EncryptionKey Bytes  `json:"encryptionKey"`
	Source        string `json:"source"` // key_package, update or commit
}

// State is what a member sees of its group.
type State struct {
	Epoch                   uint64   `json:"epoch"`
	GroupID                 Bytes    `json:"groupId"`
	Suite                   uint16   `json:"suite"`
	GroupContext            Bytes    `json:"groupContext"`
	TreeHash                Bytes    `json:"treeHash"`
	ConfirmedTranscriptHash Bytes    `json:"confirmedTranscriptHash"`
	ConfirmationTag         Bytes    `json:"confirmationTag"`
	EpochAuthenticator      Bytes    `json:"epochAuthenticator"`
	ResumptionPSK           Bytes    `json:"resumptionPsk"`
	Members                 []Member `json:"members"`
	OwnLeaf                 uint32   `json:"ownLeaf"`
	Active                  string   `json:"active"` // active, removedFromGroup, suspendedPendingReinit
	PendingProposals        int      `json:"pendingProposals"`
}

// State reads the state of a group.
func (d *Driver) State(ctx context.Context, group string) (State, error) {
	var out State
	err := d.Call(ctx, "state", map[string]any{"group": group}, &out)
	return out, err
}

func nonNil(v []uint16) []uint16 {
	if v == nil {
		return []uint16{}
	}
	return v
}
