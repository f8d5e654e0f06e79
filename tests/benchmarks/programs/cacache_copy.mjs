// cacache_copy.mjs PACKAGES CACHE FOLDER: copies all entries into FOLDER; cacache has no hard links.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, cache, folder] = process.argv.slice(2);
const cacache = createRequire(packages)("cacache");
mkdirSync(folder);
const start = performance.now();
for (const name of Object.keys(await cacache.ls(cache))) await cacache.get.copy(cache, name, `${folder}/${name}`);
console.log("inner", (performance.now() - start) / 1000);
