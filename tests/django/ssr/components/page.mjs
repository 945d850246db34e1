import { createElement as h, useState } from "react";

export default function Page({ name, notes = [] }) {
  const [count] = useState(notes.length);
  console.log("rendering", name);
  return h("main", null, h("h1", null, `Hello ${name}`), h("p", null, count), notes.map((note) => h("li", { key: note }, note)));
}
