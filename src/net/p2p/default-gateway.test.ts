import { expect, test } from 'vitest'
import { gatewayIn } from './default-gateway.ts'

const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'

test('The router is the gateway of the route to everywhere.', () => {
  const near = 'out\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0'
  const far = 'out\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0'
  expect(gatewayIn([head, near, far].join('\n'))).toBe('192.168.1.1')
  expect(gatewayIn([head, near].join('\n'))).toBeNull()
})

test('Without a table there is none.', () => {
  expect(gatewayIn('')).toBeNull()
  expect(gatewayIn(`${head}\nnonsense`)).toBeNull()
})
