import { createElement as h } from "react";

export default ({ title }) =>
  h("html", { lang: "en" }, h("head", null, h("title", null, title)), h("body", null, h("div", { id: "app" }, title)));
