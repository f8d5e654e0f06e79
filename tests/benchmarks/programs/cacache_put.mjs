// cacache_put.mjs PACKAGES CACHE FOLDER: puts all files of FOLDER into a cacache.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, cache, folder] = process.argv.slice(2);
const cacache = createRequire(packages)("cacache");
for (const name of readdirSync(folder)) await cacache.put(cache, name, readFileSync(`${folder}/${name}`));
