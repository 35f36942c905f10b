// node --test driver_selftest.mjs
//
// The driver against itself: says what the library can do and pins its limits
// (the X numbers of driver.mjs), so that a failing cross test can be judged.

import { test } from "node:test"
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

const text = (s) => Buffer.from(s).toString("hex")

class Driver {
  constructor() {
    this.process = spawn(process.execPath, [fileURLToPath(new URL("./driver.mjs", import.meta.url))], {
      stdio: ["pipe", "pipe", "inherit"],
    })
    this.next = 1
    this.waiting = new Map()
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const r = JSON.parse(line)
      this.waiting.get(r.id)(r)
      this.waiting.delete(r.id)
    })
  }
  raw(op, parameters = {}) {
    const id = this.next++
    this.process.stdin.write(JSON.stringify({ id, op, ...parameters }) + "\n")
    return new Promise((resolve) => this.waiting.set(id, resolve))
  }
  async call(op, parameters) {
    const r = await this.raw(op, parameters)
    if (!r.ok) throw new Error(`${op}: ${r.error}`)
    return r
  }
  async refused(pattern, op, parameters) {
    const r = await this.raw(op, parameters)
    assert.equal(r.ok, false, `${op} was accepted`)
    assert.match(r.error, pattern)
  }
  close() {
    this.process.stdin.end()
  }
}

async function withDriver(fn) {
  const d = new Driver()
  try {
    await fn(d)
  } finally {
    d.close()
  }
}

async function agree(d, ...handles) {
  const first = await d.call("state", { group: handles[0] })
  const e0 = await d.call("export", { group: handles[0], label: "test", context: "01", length: 40 })
  for (const h of handles.slice(1)) {
    const s = await d.call("state", { group: h })
    for (const k of ["epoch", "groupContext", "treeHash", "confirmedTranscriptHash", "confirmationTag", "epochAuthenticator"])
      assert.equal(s[k], first[k], `${h}: ${k}`)
    assert.deepEqual(s.members, first.members)
    const e = await d.call("export", { group: h, label: "test", context: "01", length: 40 })
    assert.equal(e.secret, e0.secret)
  }
  return first
}

async function everyoneTalks(d, ...handles) {
  for (const from of handles) {
    const m = await d.call("encrypt", { group: from, data: text("hello from " + from), aad: "a1a2" })
    for (const to of handles) {
      if (to === from) continue
      const r = await d.call("process", { group: to, message: m.message })
      assert.equal(r.kind, "application")
      assert.equal(r.data, text("hello from " + from))
      assert.equal(r.aad, "a1a2")
      assert.equal(r.sender.type, "member")
    }
  }
}

// A group of clients; clients[0] creates and adds the others in one commit.
async function make(d, suite, names, options = {}) {
  const groupId = text("room")
  await d.call("createGroup", { client: names[0], group: names[0], suite, groupId, identity: text(names[0]), ...options })
  const adds = []
  for (const n of names.slice(1))
    adds.push((await d.call("keyPackage", { client: n, suite, identity: text(n), ...options })).keyPackage)
  if (adds.length === 0) return
  const c = await d.call("commit", { group: names[0], adds })
  for (const n of names.slice(1)) await d.call("joinWelcome", { client: n, group: n, welcome: c.welcome })
}

async function commit(d, by, others, parameters = {}) {
  const c = await d.call("commit", { group: by, ...parameters })
  for (const o of others) await d.call("process", { group: o, message: c.commit })
  return c
}

for (const suite of [1, 2, 3]) {
  for (const publicMessage of [true, false]) {
    const kind = publicMessage ? "public" : "private"
    test(`suite ${suite}, ${kind} handshakes: the story`, () =>
      withDriver(async (d) => {
        await make(d, suite, ["alice", "bob"])
        await agree(d, "alice", "bob")
        await everyoneTalks(d, "alice", "bob")

        // Add by proposal of one and commit of the other, tree outside the Welcome.
        const kp = await d.call("keyPackage", { client: "carol", suite, identity: text("carol"), lastResort: true })
        const p = await d.call("propose", { group: "bob", add: kp.keyPackage, publicMessage, authenticatedData: "0102" })
        const seen = await d.call("process", { group: "alice", message: p.message })
        assert.deepEqual([seen.kind, seen.aad, seen.proposals], ["proposal", "0102", ["add"]])
        const c = await d.call("commit", { group: "alice", publicMessage, ratchetTreeExtension: false, authenticatedData: "77" })
        const pc = await d.call("process", { group: "bob", message: c.commit })
        assert.deepEqual([pc.kind, pc.aad, pc.epoch, pc.sender.leaf], ["commit", "77", 2, 0])
        await d.refused(/ratchet_tree/, "joinWelcome", { client: "carol", group: "carol", welcome: c.welcome })
        const { ratchetTree } = await d.call("ratchetTree", { group: "alice" })
        await d.call("joinWelcome", { client: "carol", group: "carol", welcome: c.welcome, ratchetTree })
        await agree(d, "alice", "bob", "carol")
        await everyoneTalks(d, "alice", "bob", "carol")

        // Empty commit, Update by reference, staged commit discarded and applied.
        await commit(d, "carol", ["alice", "bob"], { publicMessage })
        const u = await d.call("propose", { group: "bob", update: true, publicMessage })
        await d.call("process", { group: "alice", message: u.message })
        await d.call("process", { group: "carol", message: u.message })
        const before = await d.call("state", { group: "bob" })
        const st = await d.call("commit", { group: "carol", publicMessage, stage: true })
        assert.equal((await d.call("state", { group: "carol" })).epoch, before.epoch)
        await d.call("process", { group: "bob", message: st.commit })
        await d.call("process", { group: "alice", message: st.commit })
        await d.call("applyCommit", { group: "carol" })
        const after = await agree(d, "alice", "bob", "carol")
        assert.notEqual(after.members[1].encryptionKey, before.members[1].encryptionKey)
        await d.call("commit", { group: "bob", publicMessage: true, stage: true })
        await d.call("discardCommit", { group: "bob" })
        await commit(d, "bob", ["alice", "carol"], { publicMessage })
        await agree(d, "alice", "bob", "carol")
        await everyoneTalks(d, "alice", "bob", "carol")

        // Message of the epoch before.
        const late = await d.call("encrypt", { group: "alice", data: text("late") })
        await commit(d, "alice", ["bob", "carol"], { publicMessage })
        assert.equal((await d.call("process", { group: "bob", message: late.message })).data, text("late"))

        // PSKs.
        for (const n of ["alice", "bob"]) await d.call("addPsk", { client: n, pskId: "beef", secret: "11".repeat(32) })
        const psk = await d.call("commit", { group: "alice", psks: [{ id: "beef" }], publicMessage })
        await d.call("process", { group: "bob", message: psk.commit })
        await d.refused(/psk/i, "process", { group: "carol", message: psk.commit })
        await d.call("addPsk", { client: "carol", pskId: "beef", secret: "11".repeat(32) })
        await d.call("process", { group: "carol", message: psk.commit })
        const now = await agree(d, "alice", "bob", "carol")
        await commit(d, "bob", ["alice", "carol"], { psks: [{ epoch: now.epoch - 1 }], publicMessage })
        await agree(d, "alice", "bob", "carol")

        // External join and resync.
        const gi = await d.call("groupInfo", { group: "carol", withTree: true })
        const x = await d.call("externalJoin", { client: "dave", group: "dave", identity: text("dave"), groupInfo: gi.groupInfo, authenticatedData: "dd" })
        for (const n of ["alice", "bob", "carol"])
          assert.equal((await d.call("process", { group: n, message: x.commit })).sender.type, "new_member_commit")
        await agree(d, "alice", "bob", "carol", "dave")
        await everyoneTalks(d, "alice", "bob", "carol", "dave")
        const gi2 = await d.call("groupInfo", { group: "dave" })
        const tree2 = await d.call("ratchetTree", { group: "dave" })
        const y = await d.call("externalJoin", { client: "bob", group: "bob2", identity: text("bob"), groupInfo: gi2.groupInfo, ratchetTree: tree2.ratchetTree, resync: true })
        assert.equal(y.ownLeaf, 1)
        for (const n of ["alice", "carol", "dave"]) await d.call("process", { group: n, message: y.commit })
        await agree(d, "alice", "bob2", "carol", "dave")

        // Remove.
        const r = await d.call("commit", { group: "bob2", removes: [0], publicMessage })
        await d.call("process", { group: "carol", message: r.commit })
        await d.call("process", { group: "dave", message: r.commit })
        assert.equal((await d.call("process", { group: "alice", message: r.commit })).removed, true)
        await agree(d, "bob2", "carol", "dave")
        await everyoneTalks(d, "bob2", "carol", "dave")
        await d.refused(/removed/, "encrypt", { group: "alice", data: "00" })

        // Last-resort package used twice, remove and add in one commit.
        await commit(d, "dave", ["bob2"], { removes: [2], publicMessage })
        const again = await commit(d, "bob2", ["dave"], { adds: [kp.keyPackage], publicMessage })
        await d.call("joinWelcome", { client: "carol", group: "carol2", welcome: again.welcome })
        await agree(d, "bob2", "dave", "carol2")
      }))
  }

  test(`suite ${suite}: group context extensions, external senders, new member proposals`, () =>
    withDriver(async (d) => {
      const hub = await d.call("signatureKey", { client: "hub", suite })
      const spare = await d.call("signatureKey", { client: "spare", suite })
      const senders = await d.call("encodeExtension", {
        externalSenders: [
          { signatureKey: spare.public, identity: text("spare") },
          { signatureKey: hub.public, identity: text("hub") },
        ],
      })
      const custom = { type: 0xf0a1, data: "aabb" }
      const options = { extensionTypes: [0xf0a1], proposalTypes: [0xf0b1] }
      await make(d, suite, ["alice", "bob", "carol"], { ...options, extensions: [{ type: senders.type, data: senders.data }] })
      const gi = await d.call("groupInfo", { group: "alice" })

      // The second entry of external_senders removes carol; alice commits it.
      const p = await d.call("externalPropose", { client: "hub", groupInfo: gi.groupInfo, senderIndex: 1, remove: 2 })
      for (const n of ["alice", "bob", "carol"]) {
        const s = await d.call("process", { group: n, message: p.message })
        assert.deepEqual(s.sender, { type: "external", index: 1 })
      }
      const c = await commit(d, "alice", ["bob"])
      assert.equal((await d.call("process", { group: "carol", message: c.commit })).removed, true)
      await agree(d, "alice", "bob")
      await d.refused(/Signature invalid/, "process", {
        group: "alice",
        message: (
          await d.call("externalPropose", {
            client: "hub",
            groupInfo: (await d.call("groupInfo", { group: "alice" })).groupInfo,
            senderIndex: 0,
            remove: 1,
          })
        ).message,
      })

      // A new member proposes itself.
      const kp = await d.call("keyPackage", { client: "dave", suite, identity: text("dave"), ...options })
      const gi2 = await d.call("groupInfo", { group: "bob" })
      const n = await d.call("newMemberPropose", { client: "dave", keyPackage: kp.keyPackage, groupInfo: gi2.groupInfo })
      for (const h of ["alice", "bob"]) await d.call("process", { group: h, message: n.message })
      const c2 = await commit(d, "bob", ["alice"])
      await d.call("joinWelcome", { client: "dave", group: "dave", welcome: c2.welcome })
      await agree(d, "alice", "bob", "dave")

      // GroupContextExtensions by proposal, with required_capabilities; the commit
      // of the library lacks the path the RFC wants (X1).
      const required = await d.call("encodeExtension", {
        requiredCapabilities: { extensionTypes: [0xf0a1], proposalTypes: [0xf0b1], credentialTypes: [1] },
      })
      const list = [custom, { type: required.type, data: required.data }, { type: senders.type, data: senders.data }]
      const g = await d.call("propose", { group: "dave", groupContextExtensions: list })
      for (const h of ["alice", "bob"]) await d.call("process", { group: h, message: g.message })
      const c3 = await commit(d, "alice", ["bob", "dave"])
      assert.equal((await d.call("inspect", { message: c3.commit })).hasPath, false)
      const s = await agree(d, "alice", "bob", "dave")
      assert.ok(s.groupContext.includes("f0a102aabb"))
      assert.ok(s.groupContext.endsWith(senders.data))

      // A package without the custom capability is refused now.
      const poor = await d.call("keyPackage", { client: "eve", suite, identity: text("eve") })
      await d.refused(/required capabilities|support/, "commit", { group: "alice", adds: [poor.keyPackage] })

      // An unknown proposal travels and is ignored (X10).
      const u = await d.call("propose", { group: "bob", custom: { type: 0xf0b1, data: "0102" } })
      for (const h of ["alice", "dave"]) await d.call("process", { group: h, message: u.message })
      await commit(d, "dave", ["alice", "bob"])
      await agree(d, "alice", "bob", "dave")
    }))
}

test("limit X1: GroupContextExtensions with a Remove cannot be decrypted", () =>
  withDriver(async (d) => {
    const options = { extensionTypes: [0xf0a1] }
    await make(d, 1, ["alice", "bob", "carol"], options)
    const c = await d.call("commit", {
      group: "alice",
      removes: [2],
      groupContextExtensions: [{ type: 0xf0a1, data: "01" }],
    })
    await d.refused(/./, "process", { group: "bob", message: c.commit })
  }))

test("limit X2: an empty GroupContextExtensions changes nothing", () =>
  withDriver(async (d) => {
    await make(d, 1, ["alice", "bob"], { extensionTypes: [0xf0a1], extensions: [] })
    await commit(d, "alice", ["bob"], { groupContextExtensions: [{ type: 0xf0a1, data: "01" }] })
    await commit(d, "alice", ["bob"], { groupContextExtensions: [] })
    assert.ok((await agree(d, "alice", "bob")).groupContext.includes("f0a10101"))
  }))

test("limit X4: legal trees with different unmerged leaves are refused on joining", () =>
  withDriver(async (d) => {
    const names = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7"]
    await make(d, 1, names)
    await commit(d, "m0", ["m2", "m3", "m4", "m6", "m7"], { removes: [1, 5] })
    for (const by of ["m2", "m6", "m0", "m4"]) await commit(d, by, ["m0", "m2", "m3", "m4", "m6", "m7"].filter((n) => n !== by))
    const adds = []
    for (const n of ["x", "y"]) adds.push((await d.call("keyPackage", { client: n, suite: 1, identity: text(n) })).keyPackage)
    const c = await commit(d, "m3", ["m0", "m2", "m4", "m6", "m7"], { adds })
    await d.refused(/unmerged_leaves/, "joinWelcome", { client: "x", group: "x", welcome: c.welcome })
  }))

test("limit X7: a Welcome with a resumption PSK needs epoch 1", () =>
  withDriver(async (d) => {
    await make(d, 1, ["alice", "bob"])
    const kp = await d.call("keyPackage", { client: "carol", suite: 1, identity: text("carol") })
    const c = await d.call("commit", { group: "alice", adds: [kp.keyPackage], psks: [{ epoch: 1 }] })
    await d.call("process", { group: "bob", message: c.commit })
    await agree(d, "alice", "bob")
    await d.refused(/./, "joinWelcome", { client: "carol", group: "carol", welcome: c.welcome })
  }))

test("limit X9: default types in required_capabilities", () =>
  withDriver(async (d) => {
    await make(d, 1, ["alice", "bob"])
    const e = await d.call("encodeExtension", { requiredCapabilities: { extensionTypes: [1, 5], proposalTypes: [1], credentialTypes: [1] } })
    await d.refused(/required capabilities/, "commit", { group: "alice", groupContextExtensions: [{ type: e.type, data: e.data }] })
  }))

test("limit X6: an external proposal for a later epoch of another group is taken", () =>
  withDriver(async (d) => {
    const hub = await d.call("signatureKey", { client: "hub", suite: 1 })
    const s = await d.call("encodeExtension", { externalSenders: [{ signatureKey: hub.public, identity: text("hub") }] })
    const extensions = [{ type: s.type, data: s.data }]
    await make(d, 1, ["alice", "bob", "carol"], { extensions })
    await d.call("createGroup", { client: "zoe", group: "zoe", suite: 1, groupId: text("elsewhere"), identity: text("zoe"), extensions })
    for (let i = 0; i < 5; i++) await d.call("commit", { group: "zoe" })
    const gi = await d.call("groupInfo", { group: "zoe" })
    const p = await d.call("externalPropose", { client: "hub", groupInfo: gi.groupInfo, senderIndex: 0, remove: 2 })
    assert.equal((await d.call("process", { group: "alice", message: p.message })).kind, "proposal")
  }))

test("lifetimes: own adds are checked, received ones only when asked for", () =>
  withDriver(async (d) => {
    await make(d, 1, ["alice", "bob"])
    const kp = await d.call("keyPackage", { client: "old", suite: 1, identity: text("old"), lifetime: { notBefore: 1, notAfter: 2 } })
    await d.refused(/Lifetime/, "commit", { group: "alice", adds: [kp.keyPackage] })
    const p = await d.call("propose", { group: "bob", add: kp.keyPackage })
    assert.equal((await d.call("process", { group: "alice", message: p.message })).kind, "proposal")
  }))

test("refusals: trailing byte, wrong object, replay, damage", () =>
  withDriver(async (d) => {
    await make(d, 1, ["alice", "bob"])
    const m = await d.call("encrypt", { group: "alice", data: "00" })
    await d.refused(/trailing/, "process", { group: "bob", message: m.message + "00" })
    await d.refused(/is mls_private_message/, "joinWelcome", { client: "bob", group: "z", welcome: m.message })
    await d.call("process", { group: "bob", message: m.message })
    await d.refused(/past/, "process", { group: "bob", message: m.message })
    const c = await d.call("commit", { group: "alice", stage: true })
    const b = Buffer.from(c.commit, "hex")
    b[b.length - 1] ^= 1
    await d.refused(/membership/, "process", { group: "bob", message: b.toString("hex") })
    await d.call("process", { group: "bob", message: c.commit })
    await d.refused(/unknown/, "nonsense", {})
    const first = await d.raw("encrypt", { group: "nobody", data: "" })
    assert.match(first.error, /unknown/)
  }))
