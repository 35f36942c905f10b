"use strict";
// Shows /openapi.json. Everything is set as text, never as markup.
(async () => {
  const about = document.getElementById("about");
  const make = (tag, text, cls) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (cls) e.className = cls;
    return e;
  };
  const nameOf = (ref) => ref.slice(ref.lastIndexOf("/") + 1);
  const typeOf = (s) => {
    if (!s) return "";
    if (s.$ref) return nameOf(s.$ref);
    if (s.type === "array" || (Array.isArray(s.type) && s.type.includes("array"))) return "list of " + typeOf(s.items);
    if (s.contentEncoding === "base64") return "octets (base64)";
    return Array.isArray(s.type) ? s.type.filter((t) => t !== "null").join(" or ") : s.type || "";
  };
  try {
    const answer = await fetch("openapi.json");
    if (!answer.ok) throw new Error("HTTP status " + answer.status);
    const api = await answer.json();
    const schemas = api.components.schemas;
    const fields = (s) => {
      const d = s && s.$ref ? schemas[nameOf(s.$ref)] : s;
      const t = make("table");
      for (const [name, f] of Object.entries((d && d.properties) || {})) {
        const row = t.insertRow();
        const cell = row.insertCell();
        cell.append(make("code", name));
        row.insertCell().textContent = typeOf(f) + ((d.required || []).includes(name) ? "" : ", optional");
        row.insertCell().textContent = f.description || "";
      }
      return t;
    };
    const body = (title, content, into) => {
      for (const [type, m] of Object.entries(content || {})) {
        into.append(make("h4", title + ": " + typeOf(m.schema) + " (" + type + ")"), fields(m.schema));
      }
    };
    about.textContent = api.info.description + " Version " + api.info.version + ".";
    const sections = new Map();
    for (const [path, item] of Object.entries(api.paths)) {
      for (const [method, op] of Object.entries(item)) {
        const tag = (op.tags || ["other"])[0];
        if (!sections.has(tag)) sections.set(tag, []);
        sections.get(tag).push([path, method, op]);
      }
    }
    const calls = document.getElementById("calls");
    for (const [tag, ops] of sections) {
      calls.append(make("h2", tag));
      for (const [path, method, op] of ops) {
        const d = make("details");
        const head = make("summary");
        head.append(make("code", method.toUpperCase(), "method"), make("code", path), make("span", "  " + op.summary, "muted"));
        const inside = make("div");
        inside.append(make("p", (op.description || "") + (op.security ? " Needs the device's token." : " Needs no token.")));
        for (const p of op.parameters || []) {
          inside.append(make("p", p.name + " (" + p.in + ", " + typeOf(p.schema) + "): " + (p.description || "")));
        }
        body("Request", op.requestBody && op.requestBody.content, inside);
        for (const [status, r] of Object.entries(op.responses)) {
          inside.append(make("p", (status === "default" ? "Otherwise" : status) + ": " + r.description));
          body("Answer", r.content, inside);
        }
        d.append(head, inside);
        calls.append(d);
      }
    }
    calls.append(make("h2", "shapes"));
    for (const [name, s] of Object.entries(schemas)) {
      const d = make("details");
      d.append(make("summary", name), fields(s));
      calls.append(d);
    }
  } catch (e) {
    about.textContent = "Could not show openapi.json: " + e.message;
  }
})();
