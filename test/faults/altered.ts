/** How a process of the pipeline is started with something preloaded that changes it. */
import path from 'node:path';
import type { Alteration } from './alteration';

/** What a process is started with for something in it to be changed. */
export function altered(alteration: Alteration): Record<string, string> {
  return { ...preloading('alteration'), FAULT_ALTERATION: alteration };
}

/** What a process is started with that loads a file of this folder first. */
export function preloading(file: 'alteration' | 'breakpoint'): Record<string, string> {
  return { NODE_OPTIONS: `--require tsx/cjs --require ${path.join(__dirname, `${file}.ts`)}` };
}
