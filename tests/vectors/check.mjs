// Canonical values and keys once more, written from their rules alone: nothing here is shared with the Python code.
// `node tests/vectors/check.mjs` derives every key of keys.json and compares the digests.

import { createHmac } from "node:crypto"
import { readFileSync } from "node:fs"

class Refused extends Error {}

// RFC 8785. JavaScript's own strings, numbers and sorting (by UTF-16 code units) are what the RFC is made of.
function jcs(value) {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value)
      .sort()
      .map((name) => `${jcs(name)}:${jcs(value[name])}`)
    return `{${members.join(",")}}`
  }
  if (typeof value === "string") return JSON.stringify(wellFormed(value))
  if (typeof value === "number" && !Number.isFinite(value)) throw new Refused(`${value} in JSON`)
  return JSON.stringify(value)
}

function wellFormed(text) {
  if (/\p{Surrogate}/u.test(text)) throw new Refused("a lone surrogate")
  return text
}

const fraction = (digits) => (/^0*$/.test(digits) ? "" : `.${digits.padEnd(6, "0").slice(0, 6)}`)
const two = (number) => String(number).padStart(2, "0")
const MOMENT = /^(?:(\d{4})-(\d\d)-(\d\d)T)?(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([+-])(\d\d):(\d\d)|Z)?$/

// A time of day, with or without its date; in UTC where it says how far it is from there.
function moment(text) {
  const [, year, month, day, hour, minute, second, digits = "", sign, offHour = 0, offMinute = 0] = MOMENT.exec(text)
  const at = new Date(0)
  at.setUTCFullYear(Number(year ?? 2000), Number(month ?? 1) - 1, Number(day ?? 1))
  const offset = (sign === "-" ? -1 : 1) * (60 * Number(offHour) + Number(offMinute))
  at.setUTCHours(Number(hour), Number(minute) - offset, Number(second))
  const date = `${String(at.getUTCFullYear()).padStart(4, "0")}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}T`
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}${fraction(digits)}`
  return (year ? date : "") + time + (sign || text.endsWith("Z") ? "Z" : "")
}

// Types that JSON lacks stand as {"type": ..., "value": ...}.
const TYPED = {
  integer: (text) => BigInt(text).toString(),
  float: (number) => {
    if (typeof number !== "number") throw new Refused(`${number} is not finite`)
    return String(number)
  },
  uuid: (text) => {
    const digits = text.toLowerCase().replace(/[^0-9a-f]/g, "")
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
  },
  date: (text) => text,
  time: moment,
  datetime: moment,
  enum: scalar,
}

function scalar(value) {
  if (typeof value === "string") return wellFormed(value)
  if (typeof value === "boolean") return value ? "true" : "false"
  if (Number.isSafeInteger(value)) return String(value)
  const typed = value !== null && typeof value === "object" && TYPED[value.type]
  if (!typed) throw new Refused("a value that has no canonical text")
  return typed(value.value)
}

const canonical = (value) => (Array.isArray(value) ? value.map(scalar) : scalar(value))

function variantText(vary) {
  const pairs = Object.entries(vary)
  return jcs(pairs.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function deriveCacheKey({ secret, context, params, partition, rev = 0, function: name = null, variant = null, vary }) {
  if (Buffer.byteLength(secret) < 32) throw new Refused("a short secret")
  const present = Object.entries(params).filter(([, value]) => value !== null)
  const p = Object.fromEntries(present.map(([parameter, value]) => [parameter, canonical(value)]))
  const message = { v: 1, c: context, f: name, p, r: rev, u: partition, x: vary ? variantText(vary) : variant }
  return createHmac("sha256", secret).update(jcs(message)).digest("hex")
}

function outcome(input) {
  try {
    return deriveCacheKey(input)
  } catch (error) {
    if (error instanceof Refused) return "refused"
    throw error
  }
}

const { cases } = JSON.parse(readFileSync(new URL("keys.json", import.meta.url), "utf8"))
let failed = 0
for (const { name, input, key } of cases) {
  const got = outcome(input)
  if (got === key) continue
  failed += 1
  console.error(`${name}: ${got} instead of ${key}`)
}
console.log(`${cases.length - failed} passed, ${failed} failed`)
process.exitCode = failed || cases.length === 0 ? 1 : 0
