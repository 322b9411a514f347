/** The operator's command line: `npm run ops -- COMMAND`, or `npx commerce-ops COMMAND`. */
import { runProgram } from '../../platform/process/program';
import { runCommandLine } from './command-line';

runProgram(() => runCommandLine(process.argv.slice(2)), { endsWithReader: true });
