# Fails unless PLUGIN exports lockstep_plugin and nothing else: two plugins in one process, or a
# plugin and its host, must not find each other's functions.
execute_process(COMMAND ${NM} -D --defined-only ${PLUGIN}
  OUTPUT_VARIABLE symbols RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${NM} failed on ${PLUGIN}")
endif()
string(REGEX REPLACE "[0-9a-f]+ ([A-Za-z]) " "" names "${symbols}")
string(STRIP "${names}" names)
if(NOT names STREQUAL "lockstep_plugin")
  message(FATAL_ERROR "${PLUGIN} exports more or other than lockstep_plugin:\n${symbols}")
endif()
