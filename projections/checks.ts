/** What a process checks of the projections: that it may start, and whether they are built. */
import type { Pool } from 'pg';
import type { Check } from '../platform/dependencies/readiness';
import type { StartupCheck } from '../platform/dependencies/startup-checks';
import { assertTablesMatch, readUnbuilt } from './state';

/** The process ends if the tables are not those that its version declares. */
export function projectionsStartupCheck(pool: Pool): StartupCheck {
  return { server: 'PostgreSQL', run: () => assertTablesMatch(pool) };
}

/** `/readyz` names the projections that still have to be built; the process works all the same. */
export function projectionsCheck(pool: Pool): Check {
  return {
    name: 'projections',
    required: false,
    async probe() {
      const unbuilt = await readUnbuilt(pool);
      if (unbuilt.length > 0) throw new Error(`${unbuilt.join(', ')}: run rebuild-metrics`);
    },
  };
}
