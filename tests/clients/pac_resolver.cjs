// Evaluates every PAC file of a directory for every URL in its `urls.txt`, and prints the answers as JSON: a text, or
// null without one.
const fs = require('fs');
const path = require('path');
const { createPacResolver } = require('pac-resolver');
const { getQuickJS } = require('@tootallnate/quickjs-emscripten');

(async () => {
  const directory = process.argv[2];
  const urls = fs.readFileSync(path.join(directory, 'urls.txt'), 'utf8').trim().split('\n');
  const quickjs = await getQuickJS();
  const answers = {};
  for (const name of fs.readdirSync(directory).filter((name) => name.endsWith('.pac')).sort()) {
    answers[name] = [];
    let resolve;
    try {
      resolve = createPacResolver(quickjs, fs.readFileSync(path.join(directory, name), 'utf8'));
    } catch {
      resolve = null;
    }
    for (const url of urls) {
      try {
        const answer = await resolve(url, new URL(url).hostname);
        answers[name].push(['null', 'undefined'].includes(String(answer)) ? null : String(answer));
      } catch {
        answers[name].push(null);
      }
    }
  }
  process.stdout.write(JSON.stringify(answers));
})();
