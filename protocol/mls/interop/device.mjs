// A user's devices, written without any of mimid's code: npm ts-mls for MLS, and
// what stands in the documentation of mimid's packages for the rest. A provider
// (mimid serve) is spoken to over its client API.
//
// JSON lines on stdin and stdout, as driver.mjs: {"id":n,"op":...} is answered by
// {"id":n,"ok":true,...} or {"id":n,"ok":false,"error":"..."}, in order.
//
// register {provider, invite, device}   a device, the first one makes the user's key
//                                       -> {user, client}
// publish {device}                      KeyPackages -> {}
// accept {device, user}                 consent for that user -> {}
// welcomed {device}                     waits for a Welcome and joins -> {room, epoch}
// enter {device, room}                  joins by an external commit -> {epoch}
// send {device, room, text}             -> {acceptedAt}
// read {device, room}                   waits for the next message of somebody else
//                                       -> {sender, text, seq, franked}
//
// Where the layouts stand: certificates in protocol/mls/x509auth, paths and bodies
// in protocol/clientapi, requests in protocol/wire, log entries in protocol/room
// (entry.go, body.go), messages in protocol/content (codec.go), franking tags and
// nonces in protocol/wire/franking.go and protocol/room/frank.go.
//
// Not done here: the hub's signatures over heads are not checked (the chain of
// hashes is), nor others' certificates. ts-mls 1.6.4 skips proposals that it does
// not know, so a device can join a room whose GroupContext has an
// app_data_dictionary, and cannot follow a commit with an AppDataUpdate or a
// SelfRemove: what comes to be after that is another group for it.

import { createInterface } from "node:readline"
import { createHash, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto"
import * as mls from "ts-mls"
import { createGroupInfo } from "ts-mls/createCommit.js"
import { decodeWelcome } from "ts-mls/welcome.js"
import { decodeGroupInfo, groupInfoEncoder } from "ts-mls/groupInfo.js"
import { decodeRatchetTree } from "ts-mls/ratchetTree.js"
import { keyPackageEncoder, makeKeyPackageRef } from "ts-mls/keyPackage.js"
import { decryptSenderData } from "ts-mls/privateMessage.js"
import { decryptWithLabel } from "ts-mls/crypto/hpke.js"
import { signWithLabel, verifyWithLabel } from "ts-mls/crypto/signature.js"
import { credentialEncoder } from "ts-mls/credential.js"
import { encode } from "ts-mls/codec/tlsEncoder.js"
import { fail, renumberPublic, wrapGroupInfo, wrapState } from "./deviations.mjs"

const suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"))
const DICTIONARY = 6 // extension app_data_dictionary
const FRANK_AAD = 0x0020 // component
const HOSTING = 0x8001 // component room_hosting

const config = {
  keyRetentionConfig: mls.defaultKeyRetentionConfig,
  lifetimeConfig: mls.defaultLifetimeConfig,
  keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
  paddingConfig: mls.defaultPaddingConfig,
  authService: { validateCredential: async () => true },
}

// ------------------------------------------------------- presentation language

const cat = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => Buffer.from(p))))
const text = (s) => new Uint8Array(Buffer.from(s, "utf8"))
const number = (n, size) => {
  const b = Buffer.alloc(8)
  b.writeBigUInt64BE(BigInt(n))
  return new Uint8Array(b.subarray(8 - size))
}

// opaque is opaque<V>: a length as in QUIC, of 1, 2 or 4 octets.
function opaque(b) {
  const n = b.length
  if (n < 1 << 6) return cat(number(n, 1), b)
  if (n < 1 << 14) return cat(number(n | (1 << 14), 2), b)
  return cat(number(n + 0x80000000, 4), b)
}

class Reader {
  constructor(b) {
    this.b = b
    this.at = 0
  }
  take(n) {
    if (this.at + n > this.b.length) fail("truncated")
    this.at += n
    return this.b.subarray(this.at - n, this.at)
  }
  number(size) {
    let n = 0n
    for (const x of this.take(size)) n = n * 256n + BigInt(x)
    return Number(n)
  }
  opaque() {
    const first = this.number(1)
    const size = 1 << (first >> 6)
    let n = first & 0x3f
    for (let i = 1; i < size; i++) n = n * 256 + this.number(1)
    return this.take(n)
  }
  // decode reads what a decoder of the library reads.
  decode(decoder) {
    const got = decoder(this.b, this.at)
    if (got === undefined) fail("cannot be decoded")
    this.at += got[1]
    return got[0]
  }
  done() {
    if (this.at !== this.b.length) fail(`${this.b.length - this.at} octets too many`)
  }
}

// -------------------------------------------------------------------- ASN.1

const der = (tag, ...parts) => {
  const body = cat(...parts)
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255]
  return cat([tag], length, body)
}
const oid = (...b) => der(0x06, b)
const ed25519 = () => der(0x30, oid(0x2b, 0x65, 0x70))
const utcTime = (d) => der(0x17, text(d.toISOString().replace(/[-:T]/g, "").slice(2, 14) + "Z"))

// clientCertificate certifies a signature key for a device's URI with the user's key.
function clientCertificate(userKey, uri, publicKey) {
  const hour = 3600e3
  const extension = (id, critical, value) => der(0x30, oid(0x55, 0x1d, id), critical ? der(0x01, [0xff]) : [], der(0x04, value))
  const tbs = der(
    0x30,
    der(0xa0, der(0x02, [2])), // version 3
    der(0x02, cat([0x40], randomBytes(15))),
    ed25519(),
    der(0x30, der(0x31, der(0x30, oid(0x55, 0x04, 0x03), der(0x0c, text("mimi user"))))),
    der(0x30, utcTime(new Date(Date.now() - hour)), utcTime(new Date(Date.now() + 30 * 24 * hour))),
    der(0x30), // no subject
    der(0x30, ed25519(), der(0x03, [0], publicKey)),
    der(
      0xa3,
      der(
        0x30,
        extension(0x0f, true, der(0x03, [7, 0x80])), // digitalSignature
        extension(0x13, true, der(0x30)), // no CA
        extension(0x11, true, der(0x30, der(0x86, text(uri)))), // the URI as alternative name
      ),
    ),
  )
  return der(0x30, tbs, ed25519(), der(0x03, [0], sign(null, tbs, userKey)))
}

const rawPublic = (key) => new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32))

// --------------------------------------------------------------------- CBOR

// What messages are made of (RFC 8949 section 4.2.1): numbers below 2^32, octets,
// text, arrays, maps with numbers as keys, false, true and null.
function cbor(x) {
  const head = (major, n) =>
    n < 24 ? [(major << 5) | n] : n < 256 ? [(major << 5) | 24, n] : n < 65536 ? cat([(major << 5) | 25], number(n, 2)) : cat([(major << 5) | 26], number(n, 4))
  if (x === null) return new Uint8Array([0xf6])
  if (typeof x === "number") return cat(head(0, x))
  if (typeof x === "string") return cat(head(3, text(x).length), text(x))
  if (x instanceof Uint8Array) return cat(head(2, x.length), x)
  if (Array.isArray(x)) return cat(head(4, x.length), ...x.map(cbor))
  return cat(head(5, x.size), ...[...x].flatMap(([k, v]) => [cbor(k), cbor(v)]))
}

function uncbor(r) {
  const first = r.number(1)
  const low = first & 31
  const n = low < 24 ? low : low < 28 ? r.number(1 << (low - 24)) : fail("indefinite length")
  switch (first >> 5) {
    case 0:
      return n
    case 1:
      return -1 - n
    case 2:
      return new Uint8Array(r.take(n))
    case 3:
      return Buffer.from(r.take(n)).toString("utf8")
    case 4:
      return Array.from({ length: n }, () => uncbor(r))
    case 5:
      return new Map(Array.from({ length: n }, () => [uncbor(r), uncbor(r)]))
    case 7:
      return low === 20 ? false : low === 21 ? true : low === 22 ? null : fail("CBOR value")
  }
  fail("CBOR tag")
}

// ------------------------------------------------------------------ provider

let user // {key, uri, domain}: this process is one user's devices
const devices = new Map()

const b64 = (b) => Buffer.from(b).toString("base64")
const unb64 = (s) => new Uint8Array(Buffer.from(s ?? "", "base64"))
const hash = (...parts) => new Uint8Array(createHash("sha256").update(cat(...parts)).digest())

async function call(provider, token, method, path, body) {
  const headers = { "content-type": "application/json" }
  if (token) headers.authorization = `Bearer ${token}`
  const res = await fetch(provider + path, { method, headers, body: body && JSON.stringify(body) })
  const got = await res.text()
  if (!res.ok) fail(`${method} ${path}: ${res.status} ${got}`)
  return got === "" ? {} : JSON.parse(got)
}

class Device {
  constructor(provider, name, account, keys, certificate) {
    Object.assign(this, { provider, name, keys, token: account.token, client: account.client })
    this.credential = { credentialType: "x509", certificates: [certificate, unb64(account.certificate)] }
    this.packages = []
    this.rooms = new Map()
    this.early = new Map() // entries of rooms that are not joined yet
    this.welcomes = []
    this.waiting = []
    this.listen().catch((e) => process.stderr.write(`${name}: stream: ${e.stack}\n`))
  }

  call(method, path, body) {
    return call(this.provider, this.token, method, path, body)
  }

  // listen follows the stream of events (text/event-stream).
  async listen() {
    const res = await fetch(`${this.provider}/v1/events`, { headers: { authorization: `Bearer ${this.token}` } })
    if (!res.ok) fail(`events: ${res.status}`)
    let rest = ""
    for await (const piece of res.body) {
      rest += Buffer.from(piece).toString("utf8")
      for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
        const lines = rest.slice(0, end).split("\n")
        const field = (name) => lines.find((l) => l.startsWith(name + ": "))?.slice(name.length + 2)
        await this.event(field("event"), JSON.parse(field("data") ?? "{}"))
      }
    }
  }

  async event(kind, data) {
    if (kind === "welcome") this.welcomes.push(data)
    if (kind === "entries") {
      const list = this.early.get(data.room) ?? []
      list.push(...data.entries.map(unb64))
      this.early.set(data.room, list)
    }
    for (const w of this.waiting.splice(0)) w()
  }

  // until waits until something is so, which events bring about.
  async until(what, f) {
    const end = Date.now() + 30e3
    for (;;) {
      const got = await f()
      if (got !== undefined) return got
      if (Date.now() > end) fail(`${this.name}: ${what}: not within 30 s`)
      await new Promise((done) => {
        this.waiting.push(done)
        setTimeout(done, 200)
      })
    }
  }

  async keyPackage() {
    const now = Math.floor(Date.now() / 1000)
    const made = await mls.generateKeyPackageWithKey(
      this.credential,
      { versions: ["mls10"], ciphersuites: [suite.name], extensions: [DICTIONARY], proposals: [8, 10], credentials: ["x509"] },
      { notBefore: BigInt(now - 3600), notAfter: BigInt(now + 28 * 86400) },
      [],
      this.keys,
      suite,
    )
    return { ...made, ref: await makeKeyPackageRef(made.publicPackage, suite.hash) }
  }

  room(id) {
    return this.rooms.get(id) ?? fail(`${this.name} is not in room ${id}`)
  }

  // follow takes the room's entries up to the next message of somebody else, if it is there.
  async follow(room) {
    const entries = (this.early.get(room.id) ?? []).map(parseEntry).sort((a, b) => a.seq - b.seq)
    for (const e of entries) {
      if (e.seq < room.next) continue
      if (e.seq > room.next) return undefined // there is a gap still
      if (Buffer.compare(Buffer.from(e.prev), Buffer.from(room.last))) fail(`entry ${e.seq} does not continue the log`)
      room.next++
      room.last = e.hash
      const said = await this.entry(room, e)
      if (said) return said
    }
    return undefined
  }

  async entry(room, e) {
    const r = new Reader(e.body)
    if (e.kind === 2) {
      const m = r.decode(mls.decodeMlsMessage)
      if (Number(m.publicMessage.content.epoch) !== Number(room.state.groupContext.epoch)) return undefined // before this device
      const res = await mls.processPublicMessage(room.state, renumberPublic(m.publicMessage), mls.emptyPskIndex, suite)
      room.state = wrapState(res.newState)
      return undefined
    }
    if (e.kind !== 3) return undefined
    const from = r.at
    const m = r.decode(mls.decodeMlsMessage)
    const ciphertext = r.b.subarray(from, r.at)
    if (room.own.has(Buffer.from(hash(ciphertext)).toString("hex"))) return undefined
    // Of this epoch, or of one before it that is still remembered.
    const { epoch } = m.privateMessage
    const secrets = epoch === room.state.groupContext.epoch ? room.state.keySchedule : room.state.historicalReceiverData.get(epoch)
    if (secrets === undefined) return undefined
    const leaf = (await decryptSenderData(m.privateMessage, secrets.senderDataSecret, suite)).leafIndex
    const res = await mls.processPrivateMessage(room.state, m.privateMessage, mls.emptyPskIndex, suite)
    room.state = wrapState(res.newState)
    const message = readMessage(res.message)
    if (message === undefined) return undefined // a report of what was delivered
    const sender = userOf(room.state.ratchetTree[leaf * 2].leaf.credential)
    if (sender !== message.sender) fail(`a message by ${sender} says that it is by ${message.sender}`)
    const franked = r.number(1) === 1 && (await checkFrank(room, r, e, message, ciphertext, m.privateMessage.authenticatedData))
    return { sender, text: message.text, seq: e.seq, franked }
  }
}

// userOf is the user URI of a leaf: the alternative name, [6] URI, of the second certificate.
function userOf(credential) {
  const cert = Buffer.from(credential.certificates[1])
  const at = cert.indexOf("mimi://")
  if (at < 2 || cert[at - 2] !== 0x86) fail("a user certificate without a user's URI")
  return cert.subarray(at, at + cert[at - 1]).toString()
}

// ---------------------------------------------------------------------- log

function parseEntry(b) {
  const r = new Reader(b)
  if (r.number(1) !== 1) fail("version of an entry")
  const room = r.take(32)
  r.take(4 + 8) // term
  const seq = r.number(8)
  const prev = r.take(32)
  const acceptedAt = r.number(8)
  const kind = r.number(1)
  r.take(32) // txn id
  const body = r.opaque()
  r.done()
  return { room, seq, prev, acceptedAt, kind, body, hash: hash(opaque(text("mimid room entry v1")), b) }
}

// ------------------------------------------------------------------- content

function writeMessage(sender, room, words) {
  const salt = new Uint8Array(randomBytes(16))
  const said = cbor([salt, null, new Uint8Array(), null, null, new Map([[1, sender], [2, room]]), [1, "", 1, "text/plain;charset=utf-8", text(words)]])
  return { salt, said }
}

// readMessage reads a message with one part; a report is an array of arrays, and undefined.
function readMessage(b) {
  const r = new Reader(b)
  const x = uncbor(r)
  r.done()
  if (!(x[0] instanceof Uint8Array)) return undefined
  const [, , cardinality, , content] = x[6]
  return { salt: x[0], said: b, sender: x[5].get(1), room: x[5].get(2), text: cardinality === 1 ? Buffer.from(content).toString("utf8") : "" }
}

// Franking, MIMI protocol section 5.4.1.
const tagOf = (salt, said) => new Uint8Array(createHmac("sha256", salt).update(said).digest())
const safeAAD = (tag) => opaque(cat(number(FRANK_AAD, 2), opaque(tag)))
const nonceOf = (salt, ciphertext) =>
  new Uint8Array(createHmac("sha256", salt).update(cat(text("mimid message nonce v1"), hash(ciphertext))).digest()).subarray(0, 16)

async function checkFrank(room, r, e, message, ciphertext, aad) {
  const serverFrank = r.take(32)
  const scheme = r.take(2)
  const signature = r.opaque()
  r.done()
  if (Buffer.compare(Buffer.from(aad), Buffer.from(safeAAD(tagOf(message.salt, message.said))))) fail("the franking tag is of something else")
  if (message.room !== room.uri) fail("the message is for another room")
  const tbs = cat(serverFrank, scheme, opaque(text(message.sender)), opaque(text(message.room)), number(e.acceptedAt, 8), nonceOf(message.salt, ciphertext))
  if (!(await verifyWithLabel(room.frankingKey, "mimid hidden FrankingIntegrityTBS", tbs, signature, suite.signature))) fail("the hub's frank does not verify")
  return true
}

// hubFrankingKey finds the hub in the component room_hosting, whose layout is in
// protocol/room/hosting.go.
function hubFrankingKey(state) {
  const ext = state.groupContext.extensions.find((x) => x.extensionType === DICTIONARY)
  const list = new Reader(new Reader(ext.extensionData).opaque())
  while (list.at < list.b.length) {
    const id = list.number(2)
    const data = new Reader(list.opaque())
    if (id !== HOSTING) continue
    if (data.number(1) !== 1) fail("version of room_hosting")
    data.opaque() // domain of the hub
    data.take(32) // its provider key
    return new Uint8Array(data.opaque())
  }
  fail("no room_hosting")
}

// ---------------------------------------------------------------- operations

const device = (r) => devices.get(r.device) ?? fail(`no device ${r.device}`)

function joined(d, uri, state, at) {
  const id = Buffer.from(hash(text(uri))).toString("hex")
  const room = { id, uri, state, next: at.next, last: at.last, own: new Set(), frankingKey: hubFrankingKey(state) }
  d.rooms.set(id, room)
  return { room: uri, epoch: Number(state.groupContext.epoch) }
}

const ops = {
  async register(r) {
    const about = await call(r.provider, undefined, "GET", "/v1/provider")
    const key = user?.key ?? generateKeyPairSync("ed25519").privateKey
    const proof = cat(...["mimid register v1", about.domain, r.invite, r.device].map((s) => opaque(text(s))), opaque(rawPublic(key)))
    const account = await call(r.provider, undefined, "POST", "/v1/accounts", {
      invite: r.invite,
      device: r.device,
      user_key: b64(rawPublic(key)),
      proof: b64(sign(null, proof, key)),
    })
    user = { key, uri: account.user }
    const keys = await suite.signature.keygen()
    devices.set(r.device, new Device(r.provider, r.device, account, keys, clientCertificate(key, account.client, keys.publicKey)))
    return { user: account.user, client: account.client }
  },

  async publish(r) {
    const d = device(r)
    for (let i = 0; i < 3; i++) d.packages.push(await d.keyPackage())
    await d.call("POST", "/v1/keypackages", { key_packages: d.packages.map((p) => b64(encode(keyPackageEncoder)(p.publicPackage))) })
    return {}
  },

  async accept(r) {
    // ConsentEntry: a grant to fetch this user's KeyPackages, for any room.
    const entry = cat([2], opaque(text(r.user)), opaque(text(user.uri)), [0], opaque([]), opaque([]))
    await device(r).call("POST", "/v1/consent", { entry: b64(entry) })
    return {}
  },

  async welcomed(r) {
    const d = device(r)
    const w = await d.until("a Welcome", async () => d.welcomes.shift())
    const welcome = new Reader(unb64(w.welcome)).decode(decodeWelcome)
    const tree = new Reader(unb64(w.tree)).decode(decodeRatchetTree)
    const mine = d.packages.find((p) => welcome.secrets.some((s) => Buffer.compare(Buffer.from(s.newMember), Buffer.from(p.ref)) === 0))
    if (mine === undefined) fail("a Welcome for none of the KeyPackages")
    const state = await mls.joinGroup(welcome, mine.publicPackage, mine.privatePackage, mls.emptyPskIndex, suite, tree, undefined, config)
    return joined(d, w.uri, wrapState(state), { next: w.at.next, last: unb64(w.at.last) })
  },

  async enter(r) {
    const d = device(r)
    const id = Buffer.from(hash(text(r.room))).toString("hex")
    const pair = await suite.hpke.generateKeyPair()
    const front = cat(
      number(1, 1),
      number(1, 2), // MLS 1.0, suite 1
      opaque(d.keys.publicKey),
      encode(credentialEncoder)(d.credential),
      opaque(await suite.hpke.exportPublicKey(pair.publicKey)),
    )
    const signature = await signWithLabel(d.keys.signKey, "GroupInfoRequestTBS", cat(front, [0]), suite.signature)
    const got = await d.call("POST", `/v1/rooms/${id}/groupinfo`, { request: b64(cat(front, opaque([]), opaque(signature))) })

    const a = new Reader(unb64(got.response))
    a.take(1)
    if (Buffer.from(a.opaque()).toString() !== r.room) fail("GroupInfo of another room")
    if (a.number(1) !== 1) fail("the hub gives no GroupInfo")
    a.take(2)
    a.decode(mls.decodeExternalSender)
    const enc = a.opaque()
    const sealed = a.opaque()
    const tbe = new Reader(await decryptWithLabel(pair.privateKey, "GroupInfo and ratchet_tree encryption", text(r.room), enc, sealed, suite.hpke))
    const info = tbe.decode(decodeGroupInfo)
    if (tbe.number(1) !== 1) fail("no tree")
    const tree = tbe.decode(decodeRatchetTree)

    const made = await d.keyPackage()
    const res = await mls.joinGroupExternal(wrapGroupInfo(info), made.publicPackage, made.privatePackage, false, suite, tree, config)
    const state = wrapState(res.newState)
    const external = await suite.hpke.deriveKeyPair(state.keySchedule.externalSecret)
    const next = await createGroupInfo(
      state.groupContext,
      state.confirmationTag,
      state,
      [{ extensionType: "external_pub", extensionData: opaque(await suite.hpke.exportPublicKey(external.publicKey)) }],
      suite,
    )
    const commit = mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_public_message", publicMessage: res.publicMessage })
    // HandshakeBundle: no Welcome, the GroupInfo in full, the tree is the hub's to know.
    const request = cat(commit, [0], [1], encode(groupInfoEncoder)(next), [4])
    const answer = new Reader(unb64((await d.call("POST", `/v1/rooms/${id}/updates`, { request: b64(request), nonce: b64(randomBytes(16)) })).response))
    const code = answer.number(1)
    const why = Buffer.from(answer.opaque()).toString()
    if (code !== 0) fail(`the hub refuses the commit: ${code} ${why}`)
    // Where the commit stands in the log is where this device begins.
    return await d.until("the own commit in the log", async () => {
      const log = await d.call("GET", `/v1/rooms/${id}/log?from=0&limit=1000`)
      const entries = log.entries.map((x) => parseEntry(unb64(x)))
      const own = entries.find((e) => e.kind === 2 && Buffer.from(e.body.subarray(0, commit.length)).equals(Buffer.from(commit)))
      return own && joined(d, r.room, state, { next: own.seq + 1, last: own.hash })
    })
  },

  async send(r) {
    const d = device(r)
    const room = d.room(Buffer.from(hash(text(r.room))).toString("hex"))
    await d.follow(room) // commits that came meanwhile
    const { salt, said } = writeMessage(user.uri, r.room, r.text)
    const res = await mls.createApplicationMessage(room.state, said, suite, safeAAD(tagOf(salt, said)))
    room.state = wrapState(res.newState)
    const message = mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage: res.privateMessage })
    room.own.add(Buffer.from(hash(message)).toString("hex"))
    const request = cat([1], message, opaque(text(user.uri)))
    const got = await d.call("POST", `/v1/rooms/${room.id}/messages`, { request: b64(request), nonce: b64(nonceOf(salt, message)) })
    const answer = new Reader(unb64(got.response))
    answer.take(1)
    const code = answer.number(1)
    if (code !== 0) fail(`the hub refuses the message: ${code}`)
    return { acceptedAt: answer.number(8) }
  },

  async read(r) {
    const d = device(r)
    const room = d.room(Buffer.from(hash(text(r.room))).toString("hex"))
    return await d.until("a message", () => d.follow(room))
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const r = JSON.parse(line)
  let out
  try {
    out = { id: r.id, ok: true, ...(await (ops[r.op] ?? fail(`no op ${r.op}`))(r)) }
  } catch (e) {
    out = { id: r.id, ok: false, error: `${e.name}: ${e.message}` }
  }
  process.stdout.write(JSON.stringify(out) + "\n")
}
process.exit(0)
