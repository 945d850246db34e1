// Where the nodes of the graph stand. Pure.

const ROUNDS = 4

/**
 * Orders two lists whose items are linked, so that few links cross: each item moves to the mean place of those that it
 * is linked with, a few times over.
 * @param {string[]} left @param {string[]} right @param {[string, string][]} links
 * @returns {[string[], string[]]}
 */
export function untangled(left, right, links) {
  for (let round = 0; round < ROUNDS; round += 1) {
    left = byMeans(left, right, links)
    right = byMeans(right, left, links.map(([from, to]) => [to, from]))
  }
  return [left, right]
}

/** Places of `items`, each as near to where it is wanted as its neighbours allow, `gap` apart. */
export function spread(items, wanted, gap) {
  const places = new Map()
  let next = -Infinity
  for (const item of items) {
    next = Math.max(wanted(item), next + gap)
    places.set(item, next)
  }
  return places
}

/** The mean of numbers, and what it is of none. */
export function mean(numbers, ofNone) {
  return numbers.length ? numbers.reduce((sum, number) => sum + number, 0) / numbers.length : ofNone
}

function byMeans(items, others, links) {
  const place = new Map(others.map((other, i) => [other, i]))
  const means = new Map(
    items.map((item, i) => [item, mean(links.filter(([from]) => from === item).map(([, to]) => place.get(to)), i)]),
  )
  return items.toSorted((a, b) => means.get(a) - means.get(b))
}
