// The JavaScript component: parses, sorts and hashes texts that it makes itself.

function* lines(count, seed) {
  for (let number = 0; number < count; number++) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    yield JSON.stringify({ user: `user-${seed % 97}`, micros: seed >>> 8, number });
  }
}

function slowest(texts) {
  const byUser = new Map();
  for (const text of texts) {
    const { user, micros } = JSON.parse(text);
    byUser.set(user, Math.max(byUser.get(user) ?? 0, micros));
  }
  return [...byUser].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function hash(text, start) {
  let sum = start;
  for (let i = 0; i < text.length; i++) {
    sum = Math.imul(sum ^ text.charCodeAt(i), 16777619) >>> 0;
  }
  return sum;
}

export const run = {
  run() {
    let sum = 2166136261;
    for (let seed = 1; seed <= 300; seed++) {
      sum = hash(JSON.stringify(slowest(lines(1000, seed))), sum);
    }
    console.log(`javascript ${sum.toString(16).padStart(8, "0")}`);
  },
};
