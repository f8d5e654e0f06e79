// fetch.mjs PACKAGES URLS FOLDER JOBS: make-fetch-happen, whose cache is cacache (SHA-512); asks again each time.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, urls, folder, jobs] = process.argv.slice(2);
const fetch = createRequire(packages)("make-fetch-happen").defaults({ cachePath: folder, cache: "no-cache" });
const waiting = readFileSync(urls, "utf8").trim().split("\n");

async function work() {
  for (let url = waiting.pop(); url; url = waiting.pop()) {
    const response = await fetch(url, { maxSockets: Number(jobs) });
    if (!response.ok && response.status !== 304) throw new Error(`${url}: ${response.status}`);
    for await (const _ of response.body) { /* a body that is not read is not kept */ }
  }
}

const start = performance.now();
await Promise.all(Array.from({ length: Number(jobs) }, work));
console.log("inner", (performance.now() - start) / 1000);
