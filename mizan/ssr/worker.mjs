// Renders React components for Django, in Node or Bun: a JSON object a line in, and one a line out, in any order.
//   {"id": 1, "file": "/site/react/profile.mjs", "props": {...}}  ->  {"id": 1, "html": "..."} or {"id": 1, "error": "..."}
// It ends with its input, so it never outlives the process that started it.
import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const answer = process.stdout.write.bind(process.stdout);
// What components print belongs into the log: standard output is for answers.
process.stdout.write = process.stderr.write.bind(process.stderr);
console.log = console.info = console.debug = console.error;
// Ctrl-C reaches the whole process group, and Django may have answers to finish.
process.on("SIGINT", () => {});

const loaded = new Map();

async function load(file) {
  const { mtimeMs } = statSync(file);
  const before = loaded.get(file);
  if (before?.mtimeMs === mtimeMs) return before.module;
  const url = pathToFileURL(file);
  // A module is loaded once for each URL, and this file has changed.
  if (before) url.searchParams.set("changed", String(mtimeMs));
  const module = await import(url.href);
  loaded.set(file, { mtimeMs, module });
  return module;
}

async function render(file, props) {
  const module = await load(file);
  // A bundle has a React of its own, and must render with that.
  if (typeof module.render === "function") return String(await module.render(props));
  if (typeof module.default !== "function" && typeof module.default !== "object") {
    throw new Error("it exports neither a component (export default) nor a function `render`");
  }
  const require = createRequire(file);
  const { createElement } = require("react");
  const { renderToString } = require("react-dom/server");
  return renderToString(createElement(module.default, props));
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { id, file, props } = JSON.parse(line);
  render(file, props)
    .then((html) => ({ id, html }))
    .catch((error) => ({ id, error: String(error?.stack ?? error) }))
    .then((said) => answer(JSON.stringify(said) + "\n"));
}
process.exit(0);
