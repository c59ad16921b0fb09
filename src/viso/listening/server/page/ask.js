"use strict";
// Questions to the server. The key goes along in a header and stands in no address that is sent.

async function request(method, path, { key = "", body = null } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store",
    });
  } catch {
    throw new Error("the server does not answer");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  const text = told && typeof told.detail === "string" ? told.detail : `the server answers ${response.status}`;
  throw Object.assign(new Error(text), { status: response.status });
}

async function ask(method, path, options) {
  return (await request(method, path, options)).json();
}

function recall(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch { /* a browser that keeps nothing: the link still works */ }
}

function linkOf(key, page = "") {
  return `${new URL(page || "./", location.href).href}#${key}`;
}

// A button that copies a text, where the browser lets it.
function copying(text) {
  if (!navigator.clipboard) return null;
  const button = el("button", {
    type: "button",
    click: async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    },
  }, "Copy");
  return button;
}
