// cacache_verify.mjs PACKAGES CACHE: hashes all content again, and collects what no entry needs.
import { createRequire } from "node:module";

const [packages, cache] = process.argv.slice(2);
const start = performance.now();
const { badContentCount, verifiedContent } = await createRequire(packages)("cacache").verify(cache);
if (badContentCount || !verifiedContent) throw new Error(`${badContentCount} bad, ${verifiedContent} good`);
console.log("inner", (performance.now() - start) / 1000);
