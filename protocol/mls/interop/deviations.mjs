// Where ts-mls 1.6.4 writes or reads something else than RFC 9420, and it can be
// corrected from outside: L1 and L2 of the list in driver.mjs.

import * as mls from "ts-mls"

export const EXTERNAL_SENDERS = 5

export function fail(text) {
  const e = new Error(text)
  e.name = "DriverError"
  throw e
}

// L2: external_senders under its number escapes the library's name test.
export const numbered = (e) => (e.extensionType === "external_senders" ? { ...e, extensionType: EXTERNAL_SENDERS } : e)
const named = (e) => (e.extensionType === EXTERNAL_SENDERS ? { ...e, extensionType: "external_senders" } : e)

export function readVarLen(b, at) {
  if (at >= b.length) fail("vector: truncated")
  const size = 1 << (b[at] >> 6)
  if (size > 4 || at + size > b.length) fail("vector: bad length")
  let n = b[at] & 0x3f
  for (let i = 1; i < size; i++) n = n * 256 + b[at + i]
  if (at + size + n > b.length) fail("vector: truncated")
  return [b.subarray(at + size, at + size + n), at + size + n]
}

function splitSenders(ext) {
  const [body, end] = readVarLen(ext.extensionData, 0)
  if (end !== ext.extensionData.length) fail("external_senders: trailing bytes")
  const out = []
  for (let at = 0; at < body.length; ) {
    const r = mls.decodeExternalSender(body, at)
    if (r === undefined) fail("external_senders: cannot decode")
    out.push({ extensionType: "external_senders", extensionData: body.slice(at, at + r[1]) })
    at += r[1]
  }
  return out
}

export function wrapGroupExtensions(list) {
  const arr = Array.from(list, named)
  Object.defineProperty(arr, "filter", {
    enumerable: false,
    value(fn) {
      const out = []
      for (let i = 0; i < this.length; i++) {
        if (!fn(this[i], i, this)) continue
        if (this[i].extensionType === "external_senders") out.push(...splitSenders(this[i]))
        else out.push(this[i])
      }
      return out
    },
  })
  return arr
}

export function wrapState(state) {
  return {
    ...state,
    groupContext: { ...state.groupContext, extensions: wrapGroupExtensions(state.groupContext.extensions) },
  }
}

// L1: the library looks the extension up by name with find().
export function wrapGroupInfo(gi) {
  const arr = Array.from(gi.extensions)
  Object.defineProperty(arr, "find", {
    enumerable: false,
    value(fn) {
      const e = Array.prototype.find.call(this, fn)
      if (e === undefined || e.extensionType !== "external_pub") return e
      const [key, end] = readVarLen(e.extensionData, 0)
      if (end !== e.extensionData.length) fail("external_pub: trailing bytes")
      return { ...e, extensionData: key.slice() }
    },
  })
  return {
    ...gi,
    extensions: arr,
    groupContext: { ...gi.groupContext, extensions: wrapGroupExtensions(gi.groupContext.extensions) },
  }
}

function renumberProposal(p) {
  if (p.proposalType !== "group_context_extensions") return p
  return { ...p, groupContextExtensions: { extensions: p.groupContextExtensions.extensions.map(numbered) } }
}

export function renumberPublic(pm) {
  const c = pm.content
  if (c.contentType === "proposal") return { ...pm, content: { ...c, proposal: renumberProposal(c.proposal) } }
  if (c.contentType === "commit") {
    const proposals = c.commit.proposals.map((p) =>
      p.proposalOrRefType === "proposal" ? { ...p, proposal: renumberProposal(p.proposal) } : p,
    )
    return { ...pm, content: { ...c, commit: { ...c.commit, proposals } } }
  }
  return pm
}
