// Imports a profile with speedscope's own importer and prints what it found as JSON.
//
//   node speedscope.mjs <folder of the npm package speedscope> <profile>
//
// speedscope is published as one script for a browser. What it exports to nobody is
// taken from inside: the call that draws the page is cut off its end, and the
// importer handed out in its place.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import vm from "node:vm";

const [packageFolder, profile] = process.argv.slice(2);
const folder = join(packageFolder, "dist", "release");
const script = readdirSync(folder).find((name) => /^speedscope-\w+\.js$/.test(name));
const source = readFileSync(join(folder, script), "utf8");

const importer = /async function ([\w$]+)\(\w+,\w+\)\{return\(await [\w$]+\)\.importProfilesFromArrayBuffer\(/.exec(source);
const end = source.lastIndexOf("console.log(`speedscope v");
if (!importer || end < 0) throw new Error("this version of speedscope is built in another way");
const cut = source.slice(0, end) + `globalThis.importProfile = ${importer[1]};})();`;

// What the script touches of a browser while it loads.
const element = () => ({ style: {}, setAttribute() {}, appendChild() {}, addEventListener() {} });
const browser = {
  console: { log() {}, warn: console.error, error: console.error },
  document: { createElement: element, head: element(), body: element(), addEventListener() {} },
  location: { hash: "", protocol: "file:", href: "file:///" },
  navigator: { userAgent: "", platform: "" },
  localStorage: { getItem: () => null, setItem() {} },
  matchMedia: () => ({ matches: false, addListener() {}, addEventListener() {} }),
  addEventListener() {},
  TextDecoder,
  TextEncoder,
  URL,
  setTimeout,
  clearTimeout,
  performance,
  Buffer,
};
browser.window = browser.self = browser;
vm.createContext(browser);
vm.runInContext(cut, browser, { filename: script });

const bytes = readFileSync(profile);
const buffer = vm.runInContext(`new ArrayBuffer(${bytes.length})`, browser);
new Uint8Array(buffer).set(bytes);
const group = await browser.importProfile(basename(profile), buffer);
if (!group) throw new Error("speedscope does not recognise the file");

const profiles = group.profiles.map((profile) => {
  const frames = [];
  profile.forEachFrame((frame) =>
    frames.push({
      name: frame.name,
      file: frame.file ?? null,
      line: frame.line ?? null,
      own: frame.getSelfWeight(),
      total: frame.getTotalWeight(),
    }),
  );
  return { name: profile.getName(), unit: profile.getWeightUnit(), total: profile.getTotalWeight(), frames };
});
process.stdout.write(JSON.stringify(profiles));
