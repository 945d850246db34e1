// What Node's HTTP server, told to be as lenient as it can, reads on connections whose bytes are known.
// stdin: a JSON list with the bytes of each connection, in base64.
// stdout: a JSON list with the whole requests of each: [method, target, body in base64].

import { once } from "node:events"
import { createServer } from "node:http"
import { connect } from "node:net"
import { text } from "node:stream/consumers"

let found
const server = createServer({ insecureHTTPParser: true }, (request, response) => {
  const body = []
  request.on("error", () => {}) // it broke off
  request.on("data", (data) => body.push(data))
  request.on("end", () => {
    found.push([request.method, request.url, Buffer.concat(body).toString("base64")])
    response.end()
  })
})
server.listen(0, "127.0.0.1")
await once(server, "listening")

const all = []
for (const bytes of JSON.parse(await text(process.stdin))) {
  found = []
  const client = connect(server.address().port, "127.0.0.1")
  client.on("error", () => {}).resume().end(Buffer.from(bytes, "base64"))
  await once(client, "close")
  all.push(found)
}
server.close()
process.stdout.write(JSON.stringify(all))
