import { expect, test } from 'vitest'
import { settingKeys } from '../config/settings.ts'
import { buyOptions } from './buy.ts'
import { registryOptions } from './registry.ts'
import { sellFlags, sellOptions } from './sell.ts'
import { watchOptions } from './watch.ts'

test('every option stands for a setting that exists', () => {
  for (const { key } of [...sellOptions, ...buyOptions, ...registryOptions, ...watchOptions])
    expect(settingKeys).toContain(key)
})

test('a price is for all models, or for the one it names', () => {
  const flags = sellFlags({ priceIn: ['0.1', 'qwen3:8b=0.2'], priceOut: ['qwen3:8b=0.3'], listen: ':1' })
  expect(flags).toEqual({
    'sell.price_in': { flag: '--price-in', value: '0.1' },
    'sell.models': { flag: '--price-…', value: { 'qwen3:8b': { price_in: '0.2', price_out: '0.3' } } },
    'sell.listen': { flag: '--listen', value: ':1' },
  })
})

test('two prices for all models contradict each other', () => {
  expect(() => sellFlags({ priceIn: ['0.1', '0.2'] })).toThrow(expect.objectContaining({ code: 'usage' }))
})
