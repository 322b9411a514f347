/** The operator's command line: `npm run ops -- COMMAND`. */
import { runCommandLine } from './command-line';

void runCommandLine(process.argv.slice(2)).then((exitCode) => {
  process.exitCode = exitCode;
});
