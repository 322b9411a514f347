/** Lets the environment of a test file end the processes that the file has left (`environment.ts`). */
import { killRememberedProcesses } from '../testkit/child-processes';
import type { Leaving } from './environment';

(globalThis as Leaving).endProcesses = killRememberedProcesses;
