// Prints deploy/compose.yaml as JSON: merged, and with variables in their places.
const fs = require("fs");
const { parse } = require("yaml");

const variable = /\$\{(\w+)(?::([-?])([^}]*))?\}/g;
const text = fs.readFileSync(process.argv[2], "utf8").replace(variable, (_, name, kind, word) => {
  const value = process.env[name] || (kind === "-" ? word : undefined);
  if (value === undefined) throw new Error(`${name} ${word}`);
  return value;
});
process.stdout.write(JSON.stringify(parse(text, { merge: true })));
