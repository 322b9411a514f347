/** What the fuzzing tests share: their seed and sizes, from the environment. */

/** The seed of this run: `FUZZ_SEED`, or a new one, which is printed so that it can be set. */
export function readSeed(): number {
  const given = process.env['FUZZ_SEED'];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  console.info(`FUZZ_SEED=${seed}`);
  return seed;
}

/** A size, from the environment or as given. */
export function readSize(variable: string, usual: number): number {
  return Number(process.env[variable] ?? usual);
}
