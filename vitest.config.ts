import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// The stories start hundreds of processes that compile the same sources.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(
  new URL('node_modules/.cache/node-compile', import.meta.url),
)

export default defineConfig({
  test: {
    // The stories wait for chains and processes for a third of their time: one more than there are cores.
    maxWorkers: availableParallelism() + 1,
    // Loading everything anew for each of 250 files takes a quarter of the time. No test changes what modules share.
    isolate: false,
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts'], testTimeout: 30_000 } },
      {
        test: {
          name: 'stories',
          include: ['test/**/*.test.ts'],
          // They need root and namespaces: npm run test:nat
          exclude: ['test/nat/**'],
          testTimeout: 60_000,
          expect: { poll: { timeout: 10_000 } },
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
