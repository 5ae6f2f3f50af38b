# Finds UCX and defines UCX::ucp. Tried in order, the first that works wins:
#   UCX_ROOT (a prefix with include/ and lib/), the wheel `libucx` in <repository>/.venv or the current Python,
#   the system (libucx-dev).
# Sets UCX_FOUND, UCX_VERSION, UCX_INCLUDE_DIR, UCX_UCP_LIBRARY, UCX_UCS_LIBRARY.
if(NOT UCX_ROOT)
  find_program(UCX_PYTHON NAMES python3 HINTS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
  find_program(UCX_PYTHON NAMES python3)
  if(UCX_PYTHON)
    execute_process(
      COMMAND ${UCX_PYTHON} -c "import libucx, os; print(os.path.dirname(libucx.__file__))"
      OUTPUT_VARIABLE UCX_WHEEL OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
set(UCX_hints ${UCX_ROOT} ${UCX_WHEEL})
find_path(UCX_INCLUDE_DIR ucp/api/ucp.h HINTS ${UCX_hints} PATH_SUFFIXES include)
find_library(UCX_UCP_LIBRARY ucp HINTS ${UCX_hints} PATH_SUFFIXES lib lib64)
find_library(UCX_UCS_LIBRARY ucs HINTS ${UCX_hints} PATH_SUFFIXES lib lib64)
if(UCX_INCLUDE_DIR)
  file(STRINGS ${UCX_INCLUDE_DIR}/ucp/api/ucp_version.h UCX_version_lines REGEX "UCP_API_(MAJOR|MINOR) ")
  string(REGEX REPLACE ".*MAJOR +([0-9]+).*MINOR +([0-9]+).*" "\\1.\\2" UCX_VERSION "${UCX_version_lines}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(UCX
  REQUIRED_VARS UCX_UCP_LIBRARY UCX_UCS_LIBRARY UCX_INCLUDE_DIR VERSION_VAR UCX_VERSION)
mark_as_advanced(UCX_PYTHON UCX_INCLUDE_DIR UCX_UCP_LIBRARY UCX_UCS_LIBRARY)

if(UCX_FOUND AND NOT TARGET UCX::ucp)
  add_library(UCX::ucs UNKNOWN IMPORTED GLOBAL)
  set_target_properties(UCX::ucs PROPERTIES
    IMPORTED_LOCATION ${UCX_UCS_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${UCX_INCLUDE_DIR})
  add_library(UCX::ucp UNKNOWN IMPORTED GLOBAL)
  set_target_properties(UCX::ucp PROPERTIES
    IMPORTED_LOCATION ${UCX_UCP_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${UCX_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES UCX::ucs)
endif()
