// Interop driver: one independent RFC 9420 implementation (npm ts-mls 1.6.4)
// behind JSON lines on stdin/stdout.
//
// ---------------------------------------------------------------- transport
// One request per line:   {"id":n,"op":"name",...parameters}
// One answer per line:    {"id":n,"ok":true,...results}
//                    or   {"id":n,"ok":false,"error":"ErrorName: text"}
// Requests are handled strictly in order. End of input ends the process.
// A failed request changes nothing.
//
// Byte strings are lower-case hex. MLS objects that have an MLSMessage form
// (KeyPackage, Welcome, GroupInfo, PublicMessage, PrivateMessage) always cross
// as the complete MLSMessage; trailing bytes are refused. A ratchet tree
// crosses as the bytes of the ratchet_tree extension (optional<Node>
// ratchet_tree<V>). Epochs are JSON numbers. `suite` is 1, 2 or 3.
//
// `client` names a client: it owns one signature key per suite, its key
// packages and its PSKs. It comes into being on first use. `group` is a handle,
// unique in the process, of ONE client's view of a group; a second client in
// the same group has another handle ("alice/1", "bob/1").
//
// Extension      {"type":n,"data":hex}
// Lifetime       {"notBefore":n,"notAfter":n} in seconds
// Psk            {"id":hex[,"nonce":hex]}                      external PSK
//                {"epoch":n[,"groupId":hex][,"usage":"application"|"branch"|"reinit"][,"nonce":hex]}
//                                                              resumption PSK
// Proposal       exactly one of
//                {"add":hex KeyPackage message} {"update":true} {"remove":leaf}
//                {"psk":Psk} {"groupContextExtensions":[Extension]}
//                {"reInit":{"groupId":hex,"suite":n,"extensions":[Extension]}}
//                {"custom":{"type":n,"data":hex}}
//                ("update" only in `propose`)
//
// ---------------------------------------------------------------- operations
// version {}                        -> {implementation, version, node}
// config {padUntil?, retainEpochs?, retainGenerations?, maxForward?, validateLifetime?}
//                                   -> {}   for groups made or joined afterwards
// signatureKey {client, suite}      -> {public}
// keyPackage {client, suite, identity, extensionTypes?:[n], proposalTypes?:[n],
//             credentialTypes?:[n], suites?:[n], lifetime?:Lifetime,
//             extensions?:[Extension] (of the KeyPackage), leafExtensions?:[Extension],
//             lastResort?:bool, freshSignatureKey?:bool, library?:bool}
//                                   -> {keyPackage, ref, leafKey, initKey, signatureKey}
//             lastResort adds extension 0x000a. freshSignatureKey replaces the
//             client's key first. library=true uses the library's own default
//             capabilities and (suite 2) its own, compressed, public key form.
// addPsk {client, pskId, secret}    -> {}
// encodeExtension {requiredCapabilities:{extensionTypes:[n],proposalTypes:[n],credentialTypes:[n]}}
//              or {externalSenders:[{signatureKey, identity}]}
//                                   -> {type, data}    RFC 9420 form
// createGroup {client, group, suite, groupId, identity?, extensions?:[Extension],
//             and any keyPackage capability option}   -> {epoch}
// commit {group, proposals?:[Proposal] or adds?:[hex], removes?:[leaf], psks?:[Psk],
//         groupContextExtensions?:[Extension]; publicMessage?:bool (true),
//         ratchetTreeExtension?:bool (true), authenticatedData?:hex,
//         welcomeExtensions?:[Extension], stage?:bool, groupInfo?:bool}
//         -> {commit, welcome?, groupInfo?, epoch}
//         All pending proposals are included by reference, always. Without
//         stage the commit is applied at once; with stage:true the new state is
//         kept apart until applyCommit or discardCommit.
// applyCommit {group} -> {epoch}    discardCommit {group} -> {epoch}
// propose {group, ...one Proposal..., publicMessage?:bool (true), authenticatedData?}
//         -> {message}              stored as pending in the own state as well
// clearProposals {group}            -> {dropped}
// process {group, message}          -> {kind:"application"|"proposal"|"commit",
//         data? (application), epoch (after), sender:{type, leaf?|index?},
//         aad, proposals?:[type names or numbers], removed?:bool}
// inspect {message}                 -> {wireFormat, contentType?, epoch?, groupId?, aad?,
//         sender?, hasPath?, proposals?}          needs no state
// encrypt {group, data, aad?}       -> {message}
// groupInfo {group, withTree?:bool, withExternalPub?:bool (true), extensions?,
//            library?:bool}         -> {groupInfo}
// ratchetTree {group}               -> {ratchetTree}
// joinWelcome {client, group, welcome, ratchetTree?, resumeGroup?:handle}
//                                   -> {epoch, ownLeaf, groupInfoExtensions:[Extension]}
// externalJoin {client, group, suite, identity, groupInfo, ratchetTree?, resync?:bool,
//               authenticatedData?, and any keyPackage option} -> {commit, epoch, ownLeaf}
//         resync finds the old leaf by the client's signature key.
// newMemberPropose {client, keyPackage, groupInfo, authenticatedData?} -> {message}
//         keyPackage: a KeyPackage message made earlier for this client
// externalPropose {client, groupInfo, senderIndex, ...one Proposal..., authenticatedData?}
//         -> {message}              signed by the client's key of the group's suite
// export {group, label (text), context, length}     -> {secret}
// state {group}                     -> {epoch, groupId, suite, groupContext, treeHash,
//         confirmedTranscriptHash, confirmationTag, epochAuthenticator, resumptionPsk,
//         members:[{leaf, identity, signatureKey, encryptionKey, source}], ownLeaf,
//         active:"active"|"removedFromGroup"|"suspendedPendingReinit", pendingProposals}
// fork {group, to}                  -> {}  copies a state under another handle
// drop {group}                      -> {}
//
// ---------------------------------------------------------------- deviations
// What ts-mls 1.6.4 does differently from RFC 9420, and what is done about it.
//
// Corrected here, so that the wire carries the RFC form:
//  L1 external_pub: the library writes and reads the bare HPKE key where the RFC
//     has `HPKEPublicKey external_pub` (length-prefixed). groupInfo writes the
//     RFC form unless library:true, externalJoin reads the RFC form.
//  L2 external_senders: the library treats every extension of that type as ONE
//     ExternalSender and allows many; the RFC has one vector. The state's
//     extension list is wrapped so that the library sees the entries of the RFC
//     vector one by one. Left over: a GroupContextExtensions proposal carrying
//     external_senders is fine in a PublicMessage, and refused in a PrivateMessage.
//  L3 suite 2 signature keys: the library generates compressed points (33 bytes);
//     the RFC wants uncompressed ones (65). keyPackage makes uncompressed ones.
//     Signatures are ASN.1 DER over SHA-256, as the RFC says; high S is accepted
//     and may be produced.
//  L4 createProposal has no support for Update: nothing makes the leaf or keeps
//     the new private key. The driver signs the leaf and installs the key when a
//     commit contains the proposal.
//  L5 its process call for PrivateMessage never finds a PSK (it passes an empty
//     index); the driver uses the two lower calls.
//  L6 its default capabilities list 12 private-use suites and random GREASE
//     values; the driver lists suites 1, 2, 3, mls10 and basic only.
//
// Not correctable here:
//  X1 a commit with GroupContextExtensions alone, made by the library, has no
//     path; the RFC requires one. With a path (together with a Remove), the path
//     secrets are encrypted under the OLD extensions, while its own receiver uses
//     the new ones: nobody can decrypt it. So: let it only propose GCE. It
//     receives correct GCE commits of others.
//  X2 a GroupContextExtensions proposal with an empty list changes nothing.
//  X3 it likewise accepts a GCE commit of others that lacks the required path.
//  X4 ratchet tree validation wants the unmerged_leaves of ALL nodes on a leaf's
//     direct path to be equal. The RFC wants each to list that leaf only. Legal
//     trees with different unmerged leaves in two subtrees are refused on joining
//     ("non-blank intermediate node must list leaf node in its unmerged_leaves").
//     Seen with the trees of driver_selftest.mjs.
//  X5 lifetimes are checked only for the adds of the client's own commits;
//     validateLifetime turns on the check for received ones. The maximum total
//     lifetime of its configuration is never read.
//  X6 group_id is not compared at all; the epoch of a PublicMessage only for being
//     too old and, in a commit, equal. A proposal of an external sender for another
//     group or a later epoch is therefore stored and committed.
//  X7 a Welcome with any resumption PSK, even usage "application", is joinable
//     only in epoch 1 and with the old state.
//  X8 an external commit with PSKs or with a Remove of somebody else can be
//     processed, not made.
//  X9 default types (1-5 extensions, 1-7 proposals) named in required_capabilities
//     must be listed explicitly by every leaf; the RFC takes them as implied.
//     required_capabilities is not enforced at createGroup.
//  X10 unknown proposals are decoded as `uint16 type; opaque data<V>` and then
//     silently ignored in commits. Types with another body cannot be decoded.
//     Capabilities of members are not consulted.
//  X11 credentials other than basic and x509 cannot be decoded; nor can
//     capabilities naming a protocol version other than 1.
//  X12 no application messages while proposals are pending.
//  X13 trailing bytes, presence octets other than 0/1 and non-minimal lengths are
//     accepted by its decoder (the driver refuses the first at the outermost level).
//  X14 a member that is removed learns so without checking the confirmation tag;
//     one whose leaf is given away by the same commit, to an Add or by a resync,
//     gets an InternalError ("No overlap between provided private keys and update
//     path") and stays where it was.
//  X15 a commit that the library makes as PrivateMessage and that is then discarded
//     does not consume the handshake generation.
//  X16 padding: the plaintext is padded to 256 octets by default (config padUntil).
//  X17 at most 200 generations ahead and 10 skipped ones (config), 4 past epochs.
//  X18 no subgroup/ReInit ops here; ReInit can be proposed and committed, which
//     suspends the group.

import { createInterface } from "node:readline"
import { readFileSync } from "node:fs"
import * as mls from "ts-mls"
import { createGroupInfo } from "ts-mls/createCommit.js"
import { groupContextEncoder } from "ts-mls/groupContext.js"
import { decodeRatchetTree, encodeRatchetTree } from "ts-mls/ratchetTree.js"
import { signLeafNodeCommit as signLeaf } from "ts-mls/leafNode.js"
import { makeKeyPackageRef } from "ts-mls/keyPackage.js"
import { protectExternalProposalPublic } from "ts-mls/messageProtectionPublic.js"
import { decryptSenderData } from "ts-mls/privateMessage.js"
import { encode } from "ts-mls/codec/tlsEncoder.js"
import { varLenDataEncoder } from "ts-mls/codec/variableLength.js"
import { p256 } from "@noble/curves/nist.js"
import {
  EXTERNAL_SENDERS,
  fail,
  numbered,
  renumberPublic,
  wrapGroupExtensions,
  wrapGroupInfo,
  wrapState,
} from "./deviations.mjs"

const NAMES = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
  3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
}
const LAST_RESORT = 10

const clients = new Map()
const groups = new Map()
const impls = new Map()

const settings = {
  padUntil: 256,
  retainEpochs: 4,
  retainGenerations: 10,
  maxForward: 200,
  validateLifetime: false,
}

function clientConfig() {
  return {
    keyRetentionConfig: {
      retainKeysForGenerations: settings.retainGenerations,
      retainKeysForEpochs: settings.retainEpochs,
      maximumForwardRatchetSteps: settings.maxForward,
    },
    lifetimeConfig: {
      maximumTotalLifetime: mls.defaultLifetimeConfig.maximumTotalLifetime,
      validateLifetimeOnReceive: settings.validateLifetime,
    },
    keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
    paddingConfig: { kind: "padUntilLength", padUntilLength: settings.padUntil },
    authService: { validateCredential: async () => true },
  }
}

// ------------------------------------------------------------------ helpers

function unhex(v, what) {
  if (typeof v !== "string" || v.length % 2 !== 0 || !/^[0-9a-f]*$/.test(v)) fail(`${what}: not lower-case hex`)
  return new Uint8Array(Buffer.from(v, "hex"))
}

const optHex = (v, what) => (v === undefined || v === null ? new Uint8Array() : unhex(v, what))
const hex = (b) => Buffer.from(b).toString("hex")
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
const num = (big) => Number(big)

async function suiteImpl(name) {
  if (!impls.has(name)) impls.set(name, await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(name)))
  return impls.get(name)
}

function suiteName(n) {
  const name = NAMES[n]
  if (name === undefined) fail(`suite ${n}: only 1, 2 and 3`)
  return name
}

function suiteNumber(name) {
  const n = mls.ciphersuites[name]
  return n === undefined ? Number(name) : n
}

function client(name) {
  if (typeof name !== "string" || name === "") fail("client: missing")
  if (!clients.has(name)) clients.set(name, { keys: new Map(), packages: [], psks: {} })
  return clients.get(name)
}

function group(handle) {
  const g = groups.get(handle)
  if (g === undefined) fail(`group ${handle}: unknown`)
  return g
}

function newHandle(handle) {
  if (typeof handle !== "string" || handle === "") fail("group: missing")
  if (groups.has(handle)) fail(`group ${handle}: exists`)
}

function decodeMessage(v, what, ...formats) {
  const bytes = unhex(v, what)
  const r = mls.decodeMlsMessage(bytes, 0)
  if (r === undefined) fail(`${what}: cannot decode`)
  if (r[1] !== bytes.length) fail(`${what}: ${bytes.length - r[1]} trailing bytes`)
  if (formats.length > 0 && !formats.includes(r[0].wireformat)) fail(`${what}: is ${r[0].wireformat}`)
  return r[0]
}

const encodeMessage = (m) => hex(mls.encodeMlsMessage(m))

function decodeTree(v) {
  if (v === undefined || v === null) return undefined
  const bytes = unhex(v, "ratchetTree")
  const r = decodeRatchetTree(bytes, 0)
  if (r === undefined || r[1] !== bytes.length) fail("ratchetTree: cannot decode")
  return r[0]
}

// --------------------------------------------------------------- extensions

const EXT_NAMES = Object.fromEntries(Object.entries(mls.defaultExtensionTypes).map(([k, v]) => [v, k]))
const extNumber = (t) => (typeof t === "number" ? t : mls.defaultExtensionTypes[t])

function toExtensions(list) {
  return (list ?? []).map((e) => ({
    extensionType: EXT_NAMES[e.type] ?? e.type,
    extensionData: optHex(e.data, "extension data"),
  }))
}

const fromExtensions = (list) =>
  Array.from(list, (e) => ({ type: extNumber(e.extensionType), data: hex(e.extensionData) }))

// ----------------------------------------------------------- keys, packages

async function signatureKeys(c, suite, fresh) {
  if (fresh || !c.keys.has(suite)) {
    const cs = await suiteImpl(suiteName(suite))
    const keys = await cs.signature.keygen()
    if (suite === 2) keys.publicKey = p256.getPublicKey(keys.signKey, false) // L3
    c.keys.set(suite, keys)
  }
  return c.keys.get(suite)
}

function capabilities(r) {
  if (r.library) return mls.defaultCapabilities()
  const credential = { 1: "basic", 2: "x509" }
  return {
    versions: ["mls10"],
    ciphersuites: (r.suites ?? [1, 2, 3]).map((n) => NAMES[n] ?? String(n)),
    extensions: r.extensionTypes ?? [],
    proposals: r.proposalTypes ?? [],
    credentials: (r.credentialTypes ?? [1]).map((n) => credential[n] ?? String(n)),
  }
}

function lifetime(r) {
  const now = Math.floor(Date.now() / 1000)
  const l = r.lifetime ?? { notBefore: now - 3600, notAfter: now + 28 * 86400 }
  return { notBefore: BigInt(l.notBefore), notAfter: BigInt(l.notAfter) }
}

async function makePackage(c, r) {
  const cs = await suiteImpl(suiteName(r.suite))
  const credential = { credentialType: "basic", identity: optHex(r.identity, "identity") }
  const extensions = toExtensions(r.extensions)
  if (r.lastResort) extensions.push({ extensionType: LAST_RESORT, extensionData: new Uint8Array() })
  let keys = await signatureKeys(c, r.suite, r.freshSignatureKey)
  if (r.library && r.suite === 2) keys = { ...keys, publicKey: p256.getPublicKey(keys.signKey, true) }
  const made = await mls.generateKeyPackageWithKey(
    credential,
    capabilities(r),
    lifetime(r),
    extensions,
    keys,
    cs,
    toExtensions(r.leafExtensions),
  )
  return { ...made, ref: await makeKeyPackageRef(made.publicPackage, cs.hash) }
}

function pskIndex(clientName, state) {
  return mls.makePskIndex(state, client(clientName).psks)
}

function toPsk(p, g, cs) {
  const pskNonce = p.nonce === undefined ? cs.rng.randomBytes(cs.kdf.size) : unhex(p.nonce, "psk nonce")
  if (p.id !== undefined) return { psktype: "external", pskId: unhex(p.id, "psk id"), pskNonce }
  return {
    psktype: "resumption",
    usage: p.usage ?? "application",
    pskGroupId: p.groupId === undefined ? g.state.groupContext.groupId : unhex(p.groupId, "psk group"),
    pskEpoch: BigInt(p.epoch),
    pskNonce,
  }
}

function toProposal(r, g, cs) {
  if (r.add !== undefined) {
    const m = decodeMessage(r.add, "add", "mls_key_package")
    return { proposalType: "add", add: { keyPackage: m.keyPackage } }
  }
  if (r.remove !== undefined) return { proposalType: "remove", remove: { removed: r.remove } }
  if (r.psk !== undefined) return { proposalType: "psk", psk: { preSharedKeyId: toPsk(r.psk, g, cs) } }
  if (r.groupContextExtensions !== undefined)
    return {
      proposalType: "group_context_extensions",
      groupContextExtensions: { extensions: toExtensions(r.groupContextExtensions).map(numbered) },
    }
  if (r.reInit !== undefined)
    return {
      proposalType: "reinit",
      reinit: {
        groupId: unhex(r.reInit.groupId, "groupId"),
        version: "mls10",
        cipherSuite: suiteName(r.reInit.suite),
        extensions: toExtensions(r.reInit.extensions),
      },
    }
  if (r.custom !== undefined)
    return { proposalType: r.custom.type, proposalData: optHex(r.custom.data, "proposal data") }
  fail("no proposal given")
}

async function makeUpdate(g, cs) {
  const state = g.state
  const leafIndex = state.privatePath.leafIndex
  const old = state.ratchetTree[leafIndex * 2].leaf
  const pair = await cs.hpke.generateKeyPair()
  const leafNode = await signLeaf(
    {
      leafNodeSource: "update",
      hpkePublicKey: await cs.hpke.exportPublicKey(pair.publicKey),
      signaturePublicKey: old.signaturePublicKey,
      credential: old.credential,
      capabilities: old.capabilities,
      extensions: old.extensions,
      groupId: state.groupContext.groupId,
      leafIndex,
    },
    state.signaturePrivateKey,
    cs.signature,
  )
  return {
    proposal: { proposalType: "update", update: { leafNode } },
    update: { publicKey: leafNode.hpkePublicKey, privateKey: await cs.hpke.exportPrivateKey(pair.privateKey) },
  }
}

// ------------------------------------------------------------------- groups

const stateSuite = (g) => suiteImpl(g.state.groupContext.cipherSuite)

function senderOf(sender) {
  if (sender.senderType === "member") return { type: "member", leaf: sender.leafIndex }
  if (sender.senderType === "external") return { type: "external", index: sender.senderIndex }
  return { type: sender.senderType }
}

async function groupInfoMessage(g, r) {
  const cs = await stateSuite(g)
  const s = g.state
  const ext = toExtensions(r.extensions)
  if (r.withExternalPub !== false) {
    const pair = await cs.hpke.deriveKeyPair(s.keySchedule.externalSecret)
    const key = await cs.hpke.exportPublicKey(pair.publicKey)
    ext.push({ extensionType: "external_pub", extensionData: r.library ? key : encode(varLenDataEncoder)(key) })
  }
  if (r.withTree) ext.push({ extensionType: "ratchet_tree", extensionData: encodeRatchetTree(s.ratchetTree) })
  const groupInfo = await createGroupInfo(s.groupContext, s.confirmationTag, s, ext, cs)
  return encodeMessage({ version: "mls10", wireformat: "mls_group_info", groupInfo })
}

function commitProposals(r, g, cs) {
  const list = [...(r.proposals ?? [])]
  for (const add of r.adds ?? []) list.push({ add })
  for (const remove of r.removes ?? []) list.push({ remove })
  for (const psk of r.psks ?? []) list.push({ psk })
  if (r.groupContextExtensions !== undefined && r.groupContextExtensions !== null)
    list.push({ groupContextExtensions: r.groupContextExtensions })
  return list.map((p) => toProposal(p, g, cs))
}

// L4: the private key of an own Update, if the commit holds that Update.
function withOwnUpdate(g, proposals) {
  const own = g.state.privatePath.leafIndex
  for (const p of proposals) {
    if (p.proposal.proposalType !== "update" || p.senderLeafIndex !== own) continue
    const u = g.updates.find((x) => same(x.publicKey, p.proposal.update.leafNode.hpkePublicKey))
    if (u === undefined) fail("commit holds an Update of this member that it did not make")
    const privateKeys = { ...g.state.privatePath.privateKeys }
    // The Update blanks the direct path; its old keys must not be found there.
    for (const k of Object.keys(privateKeys)) delete privateKeys[k]
    privateKeys[own * 2] = u.privateKey
    return { ...g.state, privatePath: { leafIndex: own, privateKeys } }
  }
  return g.state
}

function proposalName(p) {
  return p.proposalType
}

const ops = {
  async version() {
    const p = JSON.parse(readFileSync(new URL("./node_modules/ts-mls/package.json", import.meta.url), "utf8"))
    return { implementation: p.name, version: p.version, node: process.version }
  },

  async config(r) {
    for (const k of Object.keys(settings)) if (r[k] !== undefined) settings[k] = r[k]
    return {}
  },

  async signatureKey(r) {
    return { public: hex((await signatureKeys(client(r.client), r.suite)).publicKey) }
  },

  async keyPackage(r) {
    const c = client(r.client)
    const made = await makePackage(c, r)
    c.packages.push(made)
    return {
      keyPackage: encodeMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage: made.publicPackage }),
      ref: hex(made.ref),
      leafKey: hex(made.publicPackage.leafNode.hpkePublicKey),
      initKey: hex(made.publicPackage.initKey),
      signatureKey: hex(made.publicPackage.leafNode.signaturePublicKey),
    }
  },

  async addPsk(r) {
    const id = unhex(r.pskId, "pskId")
    client(r.client).psks[mls.bytesToBase64(id)] = unhex(r.secret, "secret")
    return {}
  },

  async encodeExtension(r) {
    if (r.requiredCapabilities !== undefined) {
      const q = r.requiredCapabilities
      const data = mls.encodeRequiredCapabilities({
        extensionTypes: q.extensionTypes ?? [],
        proposalTypes: q.proposalTypes ?? [],
        credentialTypes: (q.credentialTypes ?? []).map((n) => ({ 1: "basic", 2: "x509" })[n] ?? String(n)),
      })
      return { type: 3, data: hex(data) }
    }
    if (r.externalSenders !== undefined) {
      const parts = r.externalSenders.map((s) =>
        Buffer.from(
          mls.encodeExternalSender({
            signaturePublicKey: unhex(s.signatureKey, "signatureKey"),
            credential: { credentialType: "basic", identity: optHex(s.identity, "identity") },
          }),
        ),
      )
      return { type: EXTERNAL_SENDERS, data: hex(encode(varLenDataEncoder)(new Uint8Array(Buffer.concat(parts)))) }
    }
    fail("encodeExtension: nothing to encode")
  },

  async createGroup(r) {
    newHandle(r.group)
    const cs = await suiteImpl(suiteName(r.suite))
    const made = await makePackage(client(r.client), { ...r, extensions: [] })
    const state = await mls.createGroup(
      unhex(r.groupId, "groupId"),
      made.publicPackage,
      made.privatePackage,
      wrapGroupExtensions(toExtensions(r.extensions)),
      cs,
      clientConfig(),
    )
    groups.set(r.group, { client: r.client, state: wrapState(state), updates: [], staged: undefined })
    return { epoch: num(state.groupContext.epoch) }
  },

  async commit(r) {
    const g = group(r.group)
    if (g.staged !== undefined) fail("a staged commit is waiting")
    const cs = await stateSuite(g)
    const res = await mls.createCommit(
      { state: g.state, cipherSuite: cs, pskIndex: pskIndex(g.client, g.state) },
      {
        wireAsPublicMessage: r.publicMessage !== false,
        extraProposals: commitProposals(r, g, cs),
        ratchetTreeExtension: r.ratchetTreeExtension !== false,
        groupInfoExtensions: toExtensions(r.welcomeExtensions),
        authenticatedData: optHex(r.authenticatedData, "authenticatedData"),
      },
    )
    const next = { ...g, state: wrapState(res.newState), updates: [], staged: undefined }
    const out = { commit: encodeMessage(res.commit), epoch: num(next.state.groupContext.epoch) }
    if (res.welcome !== undefined)
      out.welcome = encodeMessage({ version: "mls10", wireformat: "mls_welcome", welcome: res.welcome })
    if (r.groupInfo) out.groupInfo = await groupInfoMessage(next, { withTree: true })
    if (r.stage) groups.set(r.group, { ...g, staged: next })
    else groups.set(r.group, next)
    return out
  },

  async applyCommit(r) {
    const g = group(r.group)
    if (g.staged === undefined) fail("no staged commit")
    groups.set(r.group, g.staged)
    return { epoch: num(g.staged.state.groupContext.epoch) }
  },

  async discardCommit(r) {
    const g = group(r.group)
    if (g.staged === undefined) fail("no staged commit")
    groups.set(r.group, { ...g, staged: undefined })
    return { epoch: num(g.state.groupContext.epoch) }
  },

  async propose(r) {
    const g = group(r.group)
    const cs = await stateSuite(g)
    const made = r.update ? await makeUpdate(g, cs) : { proposal: toProposal(r, g, cs) }
    const res = await mls.createProposal(
      g.state,
      r.publicMessage !== false,
      made.proposal,
      cs,
      optHex(r.authenticatedData, "authenticatedData"),
    )
    groups.set(r.group, {
      ...g,
      state: wrapState(res.newState),
      updates: made.update === undefined ? g.updates : [...g.updates, made.update],
    })
    return { message: encodeMessage(res.message) }
  },

  async clearProposals(r) {
    const g = group(r.group)
    groups.set(r.group, { ...g, state: { ...g.state, unappliedProposals: {} }, updates: [] })
    return { dropped: Object.keys(g.state.unappliedProposals).length }
  },

  async process(r) {
    const g = group(r.group)
    const cs = await stateSuite(g)
    const m = decodeMessage(r.message, "message", "mls_public_message", "mls_private_message")
    const psk = pskIndex(g.client, g.state)
    const isPublic = m.wireformat === "mls_public_message"
    const run = isPublic
      ? (state, cb) => mls.processPublicMessage(state, renumberPublic(m.publicMessage), psk, cs, cb)
      : (state, cb) => mls.processPrivateMessage(state, m.privateMessage, psk, cs, cb)
    const content = isPublic ? m.publicMessage.content : m.privateMessage
    const kind = content.contentType

    let sender
    if (isPublic) sender = senderOf(content.sender)
    else {
      const past = g.state.historicalReceiverData.get(content.epoch)
      const secret =
        content.epoch === g.state.groupContext.epoch ? g.state.keySchedule.senderDataSecret : past?.senderDataSecret
      if (secret !== undefined)
        sender = { type: "member", leaf: (await decryptSenderData(m.privateMessage, secret, cs)).leafIndex }
    }

    let proposals
    let res
    if (kind === "commit") {
      // First only look: states are immutable, a rejected commit costs nothing.
      await run(g.state, (i) => {
        proposals = i.proposals ?? [i.proposal]
        return "reject"
      })
      res = await run(withOwnUpdate(g, proposals), () => "accept")
    } else {
      res = await run(g.state, (i) => {
        proposals = [i.proposal]
        return "accept"
      })
    }
    const state = wrapState(res.newState)
    groups.set(r.group, {
      ...g,
      state,
      updates: kind === "commit" ? [] : g.updates,
      staged: kind === "commit" ? undefined : g.staged,
    })
    const out = { kind, epoch: num(state.groupContext.epoch), sender, aad: hex(content.authenticatedData) }
    if (res.kind === "applicationMessage") out.data = hex(res.message)
    if (proposals !== undefined) out.proposals = proposals.map((p) => proposalName(p.proposal))
    if (state.groupActiveState.kind === "removedFromGroup") out.removed = true
    return out
  },

  async inspect(r) {
    const m = decodeMessage(r.message, "message")
    const out = { wireFormat: m.wireformat }
    const c =
      m.wireformat === "mls_public_message"
        ? m.publicMessage.content
        : m.wireformat === "mls_private_message"
          ? m.privateMessage
          : undefined
    if (c !== undefined) {
      out.contentType = c.contentType
      out.epoch = num(c.epoch)
      out.groupId = hex(c.groupId)
      out.aad = hex(c.authenticatedData)
    }
    if (m.wireformat === "mls_public_message") {
      out.sender = senderOf(c.sender)
      if (c.contentType === "commit") {
        out.hasPath = c.commit.path !== undefined
        out.proposals = c.commit.proposals.map((p) =>
          p.proposalOrRefType === "proposal" ? proposalName(p.proposal) : "ref",
        )
      }
      if (c.contentType === "proposal") out.proposals = [proposalName(c.proposal)]
    }
    if (m.wireformat === "mls_group_info") {
      out.epoch = num(m.groupInfo.groupContext.epoch)
      out.groupId = hex(m.groupInfo.groupContext.groupId)
    }
    return out
  },

  async encrypt(r) {
    const g = group(r.group)
    const cs = await stateSuite(g)
    const res = await mls.createApplicationMessage(g.state, optHex(r.data, "data"), cs, optHex(r.aad, "aad"))
    groups.set(r.group, { ...g, state: res.newState })
    return {
      message: encodeMessage({
        version: "mls10",
        wireformat: "mls_private_message",
        privateMessage: res.privateMessage,
      }),
    }
  },

  async groupInfo(r) {
    return { groupInfo: await groupInfoMessage(group(r.group), r) }
  },

  async ratchetTree(r) {
    return { ratchetTree: hex(encodeRatchetTree(group(r.group).state.ratchetTree)) }
  },

  async joinWelcome(r) {
    newHandle(r.group)
    const c = client(r.client)
    const m = decodeMessage(r.welcome, "welcome", "mls_welcome")
    const made = c.packages.find((p) => m.welcome.secrets.some((s) => same(s.newMember, p.ref)))
    if (made === undefined) fail("no key package of this client is in the Welcome")
    const cs = await suiteImpl(m.welcome.cipherSuite)
    const old = r.resumeGroup === undefined ? undefined : group(r.resumeGroup).state
    const [state, extensions] = await mls.joinGroupWithExtensions(
      m.welcome,
      made.publicPackage,
      made.privatePackage,
      pskIndex(r.client, old),
      cs,
      decodeTree(r.ratchetTree),
      old,
      clientConfig(),
    )
    const lastResort = made.publicPackage.extensions.some((e) => extNumber(e.extensionType) === LAST_RESORT)
    if (!lastResort) c.packages = c.packages.filter((p) => p !== made)
    groups.set(r.group, { client: r.client, state: wrapState(state), updates: [], staged: undefined })
    return {
      epoch: num(state.groupContext.epoch),
      ownLeaf: state.privatePath.leafIndex,
      groupInfoExtensions: fromExtensions(extensions),
    }
  },

  async externalJoin(r) {
    newHandle(r.group)
    const m = decodeMessage(r.groupInfo, "groupInfo", "mls_group_info")
    const suite = suiteNumber(m.groupInfo.groupContext.cipherSuite)
    if (r.suite !== undefined && r.suite !== suite) fail("suite of the GroupInfo is another")
    const cs = await suiteImpl(suiteName(suite))
    const made = await makePackage(client(r.client), { ...r, suite, extensions: [] })
    if (r.resync) {
      const tree = decodeTree(r.ratchetTree) ?? undefined
      const inInfo = Array.from(m.groupInfo.extensions).find((e) => e.extensionType === "ratchet_tree")
      const nodes = inInfo === undefined ? tree : decodeRatchetTree(inInfo.extensionData, 0)[0]
      const key = made.publicPackage.leafNode.signaturePublicKey
      if (!nodes?.some((n) => n?.nodeType === "leaf" && same(n.leaf.signaturePublicKey, key)))
        fail("resync: no leaf with this client's signature key")
    }
    const res = await mls.joinGroupExternal(
      r.library ? m.groupInfo : wrapGroupInfo(m.groupInfo),
      made.publicPackage,
      made.privatePackage,
      r.resync === true,
      cs,
      decodeTree(r.ratchetTree),
      clientConfig(),
      optHex(r.authenticatedData, "authenticatedData"),
    )
    groups.set(r.group, { client: r.client, state: wrapState(res.newState), updates: [], staged: undefined })
    return {
      commit: encodeMessage({
        version: "mls10",
        wireformat: "mls_public_message",
        publicMessage: res.publicMessage,
      }),
      epoch: num(res.newState.groupContext.epoch),
      ownLeaf: res.newState.privatePath.leafIndex,
    }
  },

  async newMemberPropose(r) {
    const c = client(r.client)
    const m = decodeMessage(r.groupInfo, "groupInfo", "mls_group_info")
    const kp = decodeMessage(r.keyPackage, "keyPackage", "mls_key_package")
    const cs = await suiteImpl(m.groupInfo.groupContext.cipherSuite)
    const ref = await makeKeyPackageRef(kp.keyPackage, cs.hash)
    const made = c.packages.find((p) => same(p.ref, ref))
    if (made === undefined) fail("not a key package of this client")
    const message = await mls.proposeAddExternal(
      m.groupInfo,
      made.publicPackage,
      made.privatePackage,
      cs,
      optHex(r.authenticatedData, "authenticatedData"),
    )
    return { message: encodeMessage(message) }
  },

  async externalPropose(r) {
    const m = decodeMessage(r.groupInfo, "groupInfo", "mls_group_info")
    const gc = m.groupInfo.groupContext
    const cs = await suiteImpl(gc.cipherSuite)
    const keys = await signatureKeys(client(r.client), suiteNumber(gc.cipherSuite))
    const proposal = toProposal(r, { state: { groupContext: gc } }, cs)
    const res = await protectExternalProposalPublic(
      keys.signKey,
      gc,
      optHex(r.authenticatedData, "authenticatedData"),
      proposal,
      { senderType: "external", senderIndex: r.senderIndex },
      cs,
    )
    return {
      message: encodeMessage({
        version: "mls10",
        wireformat: "mls_public_message",
        publicMessage: res.publicMessage,
      }),
    }
  },

  async export(r) {
    const g = group(r.group)
    const secret = await mls.mlsExporter(
      g.state.keySchedule.exporterSecret,
      r.label,
      optHex(r.context, "context"),
      r.length,
      await stateSuite(g),
    )
    return { secret: hex(secret) }
  },

  async state(r) {
    const s = group(r.group).state
    const members = []
    s.ratchetTree.forEach((n, i) => {
      if (n === undefined || n.nodeType !== "leaf") return
      members.push({
        leaf: i / 2,
        identity: n.leaf.credential.credentialType === "basic" ? hex(n.leaf.credential.identity) : "",
        signatureKey: hex(n.leaf.signaturePublicKey),
        encryptionKey: hex(n.leaf.hpkePublicKey),
        source: n.leaf.leafNodeSource,
      })
    })
    return {
      epoch: num(s.groupContext.epoch),
      groupId: hex(s.groupContext.groupId),
      suite: suiteNumber(s.groupContext.cipherSuite),
      groupContext: hex(encode(groupContextEncoder)(s.groupContext)),
      treeHash: hex(s.groupContext.treeHash),
      confirmedTranscriptHash: hex(s.groupContext.confirmedTranscriptHash),
      confirmationTag: hex(s.confirmationTag),
      epochAuthenticator: hex(s.keySchedule.epochAuthenticator),
      resumptionPsk: hex(s.keySchedule.resumptionPsk),
      members,
      ownLeaf: s.privatePath.leafIndex,
      active: s.groupActiveState.kind,
      pendingProposals: Object.keys(s.unappliedProposals).length,
    }
  },

  async fork(r) {
    newHandle(r.to)
    groups.set(r.to, { ...group(r.group) })
    return {}
  },

  async drop(r) {
    group(r.group)
    groups.delete(r.group)
    return {}
  },
}

// --------------------------------------------------------------------- loop

async function answer(line) {
  let id = null
  try {
    const r = JSON.parse(line)
    id = r.id ?? null
    if (!Object.hasOwn(ops, r.op)) fail(`op ${r.op}: unknown`)
    return { id, ok: true, ...(await ops[r.op](r)) }
  } catch (e) {
    return { id, ok: false, error: `${e?.name ?? "Error"}: ${e?.message ?? e}` }
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() === "") continue
  process.stdout.write(JSON.stringify(await answer(line)) + "\n")
}
