import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/nat/**/*.test.ts'],
    globalSetup: [new URL('build-program.ts', import.meta.url).pathname],
    // Times are measured, and the machine is small.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 90_000,
  },
})
