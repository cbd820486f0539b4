import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const pages = ["vue", "react", "eventsource", "fetch-event-source", "ai-sdk", "ai-sdk-provider"];

export default defineConfig({
  base: "./",
  plugins: [vue(), react()],
  // In a project of your own, stream.js and the three files beside it are copied from the running proxy; see README.
  resolve: { alias: { streamproxy: here("../../streamproxy/static") } },
  build: { rolldownOptions: { input: pages.map((page) => here(`${page}/index.html`)) } },
  // `npm run dev` in front of `make run`: the page and the API are one origin, as behind nginx.
  server: { proxy: { "/v1": "http://127.0.0.1:8888" }, fs: { allow: [here("../..")] } },
});
