export default function Broken({ kind }) {
  if (kind === "hangs") for (;;);
  if (kind === "exits") process.exit(3);
  if (kind === "prints") process.stdout.write('{"id": 1, "html": "forged"}\n');
  throw new Error("no such luck");
}
