// Reads a profile with speedscope's own importer and prints what it read, as JSON:
//
//   node guests/speedscope-read.mjs FILE
//
//   { "profiles": [ { "name", "unit", "total", "samples",
//       "frames": [ { "name", "file", "line", "col", "self", "total" }, ... ] } ] }
//
// "total" of a profile is the sum of its weights; frames are sorted by name, file and line. The exit
// status is 1 if speedscope refuses the file, 2 if guests/fetch-tools was not run.
//
// speedscope publishes only its page, as one bundle, so this runs the bundle with an empty document
// and takes the importer from it before the page would be drawn.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

const release = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname,
  "real/tools/node_modules/speedscope/dist/release");

function fail(status, message) {
  process.stderr.write(`speedscope-read: ${message}\n`);
  process.exit(status);
}

// An object of which every property is such an object again: enough of a document to load the page.
function anything() {
  return new Proxy(function () {}, {
    get: (target, key) => (key === Symbol.toPrimitive ? () => "" : key === "length" ? 0 : anything()),
    set: () => true,
    apply: () => anything(),
    construct: () => anything(),
  });
}

async function loadImporter() {
  if (!existsSync(release)) {
    fail(2, "speedscope is not there: run guests/fetch-tools");
  }
  const file = readdirSync(release).find((name) => /^speedscope-\w+\.js$/.test(name));
  const bundle = readFileSync(join(release, file), "utf8");
  const module = /(\w+)=\{\};[\w$]+\(\1,\{[^}]*importProfilesFromArrayBuffer:/.exec(bundle)?.[1];
  const load = new RegExp(`\\(\\)=>(\\(\\w+\\(\\),${module}\\))\\)`);
  if (!module || !load.test(bundle)) {
    fail(2, `the importer is not in ${file}`);
  }
  const { promise, resolve } = (() => {
    let resolve;
    return { promise: new Promise((done) => (resolve = done)), resolve };
  })();
  const patched = bundle.replace(load, (whole, loaded) => `()=>found(${loaded}))`);
  const document = anything();
  const location = { hash: "", href: "", protocol: "file:", search: "" };
  // Only what the page needs: the importer's libraries look for others here, and must not find them.
  const window = {
    document, location, navigator: { userAgent: "", platform: "" }, devicePixelRatio: 1,
    addEventListener() {}, removeEventListener() {}, requestAnimationFrame() {}, matchMedia: () => anything(),
  };
  const quiet = { log() {}, warn() {}, error() {}, time() {}, timeEnd() {}, table() {} };
  const names = ["found", "window", "self", "document", "navigator", "location", "console", "localStorage", "Image"];
  const values = [(importer) => (resolve(importer), importer), window, window, document, window.navigator, location, quiet,
    document, document];
  try {
    new Function(...names, patched)(...values);
  } catch {
    // The page cannot be drawn; the importer is there before that, or the wait below says so.
  }
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("the importer did not load")), 20000).unref());
  return Promise.race([promise, late]);
}

function describe(profile) {
  const frames = [];
  profile.forEachFrame((frame) => {
    frames.push({
      name: frame.name, file: frame.file ?? null, line: frame.line ?? null, col: frame.col ?? null,
      self: frame.getSelfWeight(), total: frame.getTotalWeight(),
    });
  });
  const key = (frame) => `${frame.name}\0${frame.file}\0${frame.line}`;
  frames.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  return {
    name: profile.getName(), unit: profile.getWeightUnit(), total: profile.getTotalNonIdleWeight(),
    samples: profile.samples.length, frames,
  };
}

const path = process.argv[2];
if (!path) {
  fail(2, "usage: node guests/speedscope-read.mjs FILE");
}
// What the page itself throws while it loads is no matter.
const ignore = () => {};
process.on("uncaughtException", ignore);
const importer = await loadImporter().catch((error) => fail(2, error.message));
process.off("uncaughtException", ignore);
const bytes = readFileSync(path);
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const group = await importer.importProfilesFromArrayBuffer(basename(path), buffer).catch((error) => fail(1, error.message));
if (!group || group.profiles.length === 0) {
  fail(1, `speedscope cannot read ${path}`);
}
console.log(JSON.stringify({ profiles: group.profiles.map(describe) }, null, 1));
process.exit(0);
