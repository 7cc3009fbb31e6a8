import { expect, test } from 'vitest'
import { sourceLines } from './buy.ts'

const nothing = { sellers: [], registries: [], bootstrap: 0 }

test('a buyer that knows nobody says so when it starts, and what to do', () => {
  expect(sourceLines(nothing, false)).toEqual([
    expect.stringMatching(/^Nobody to buy from is known.*--registry.*--seller/),
  ])
})

test('a buyer says where its sellers come from', () => {
  const told = { url: 'http://s.example', models: [] }
  expect(sourceLines({ sellers: [told], registries: ['https://r.example'], bootstrap: 2 }, true)).toEqual([
    'Seller http://s.example: no models yet',
    'Sellers are found through https://r.example',
    'Sellers are found in the DHT through 2 servers',
    'Sellers are found on the local network',
  ])
})
