/** How a process of the pipeline is started with something preloaded that changes it. */
import path from 'node:path';
import type { Stack } from '../../testkit/stack';
import type { Alteration } from './alteration';

const root = path.join(__dirname, '..', '..');

/** What a process is started with for something in it to be changed. */
export function altered(alteration: Alteration): Record<string, string> {
  return { ...preloading('alteration'), FAULT_ALTERATION: alteration };
}

/** When a late fill has come. */
export type LateFill = 'after its eviction' | 'before it';

/** The key in Redis under which a reader tells that it has filled the cache with a product: {@link LateFill}. */
export function lateFillKey(productId: string): string {
  return `late-fill:${productId}`;
}

/** What a collector is started with that ignores `event_handled`; its role would not let it, either. */
export async function guardIgnored({ pool }: Pick<Stack, 'pool'>): Promise<Record<string, string>> {
  await pool.query('GRANT UPDATE ON collector.event_handled TO commerce_collector');
  return altered('guard-ignored');
}

/** What a process is started with that loads a file of this folder first. */
export function preloading(file: 'alteration' | 'breakpoint'): Record<string, string> {
  return {
    NODE_OPTIONS: `--require ${path.join(root, 'typescript.cjs')} --require ${path.join(__dirname, `${file}.ts`)}`,
  };
}
